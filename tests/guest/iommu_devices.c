/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each kind of device behind the IOMMU, driven by drivers that know nothing of it: all of their
 * memory is mapped to itself. Only at DATA are addresses something else, or nothing: what a device
 * may not reach there it leaves alone, reports, and goes on. (Disks: iommu_access.c)
 */
#include "iommu.h"
#include "modes.h"
#include "net_peer.h"
#include "rng.h"
#include "virtio_console.h"
#include "vsock.h"

#define PAGE 4096ull
#define DATA 0x4000000000ull
#define ACROSS (DATA + PAGE - 2) /* whatever begins here goes on in the other mapping */
#define WAIT_SHORT 200 /* ms: for what is not to come */
#define N_EVENTS 32u
#define QUEUE 16u
#define ECHO_PORT 1u /* of tests/vsock/peer.py */

struct kind {
	const char *name;
	uint32_t id;
	unsigned nth;
	const char *(*start)(void);
	const char *(*works)(void); /* a round trip; what earlier cases left is dropped */
	/* What the device reads; NULL: nothing */
	struct vq *reads;
	uint32_t header_len; /* bytes before the payload */
	const char *(*send_across)(void); /* NULL: nobody could tell */
	/* What the device writes */
	struct vq *writes;
	void (*offer)(uint16_t i); /* buffer i of the driver */
	const char *(*provoke)(void); /* makes it write into the next buffer; NULL: it does anyway */
	bool (*is_right)(const uint8_t *bytes, uint32_t len);
};

static struct vdev *dev; /* of the kind at hand */
static struct net net;
static struct vsock vsock;
static struct vcon vcon;
static struct rng rng;
static uint8_t *pages; /* the memory at DATA: two pages, the second one first */

static const char *tap_works(void);

static uint64_t arena_last(void)
{
	return ((memory_arena_end() + PAGE - 1) & ~(PAGE - 1)) - 1;
}

static bool has_tap(void)
{
	return !boot_option("no-tap", NULL, 0);
}

static const char *begin(const struct kind *kind)
{
	dev = discover_nth(kind->id, kind->nth);
	EXPECT(dev, "there is none");
	if (kind->works == tap_works && !has_tap())
		return tap_skip("a tap needs root");
	for (unsigned i = 0; i < n_vdevs; i++) /* the others must not raise faults meanwhile */
		EXPECT(vdev_reset(&vdevs[i]), "no reset of %u", vdevs[i].device_id);
	EXPECT_OK(iommu_start(IOMMU_FEATURES, N_EVENTS));
	iommu_set_bypass(0);
	EXPECT(iommu_attach(1, dev->function, 0) == IOMMU_OK, "attach");
	EXPECT(iommu_map(1, 0, arena_last(), 0, MAP_RW) == IOMMU_OK, "no map of RAM");
	pages = memory_alloc(2 * PAGE, PAGE);
	EXPECT_OK(kind->start());
	return kind->works();
}

static const char *map_pages(uint32_t flags)
{
	EXPECT(iommu_map(1, DATA, DATA + PAGE - 1, (uint64_t)pages + PAGE, flags) == IOMMU_OK &&
	       iommu_map(1, DATA + PAGE, DATA + 2 * PAGE - 1, (uint64_t)pages, flags) == IOMMU_OK,
	       "map");
	return NULL;
}

/* Where byte @at behind DATA lies. */
static uint8_t *page_byte(uint64_t at)
{
	return pages + (at + PAGE) % (2 * PAGE);
}

/* More than one when a device looks at a chain again, or at more chains. */
static const char *faults(uint64_t address, uint32_t flags)
{
	const struct iommu_fault *f = iommu_wait_fault(TIMEOUT_REQUEST);

	EXPECT(f, "no fault");
	for (; f; f = iommu_wait_fault(WAIT_SHORT))
		EXPECT(f->reason == FAULT_MAPPING && f->flags == flags && f->address == address &&
		       f->endpoint == dev->function,
		       "reason %u, flags 0x%x, endpoint 0x%x, address 0x%lx", f->reason, f->flags,
		       f->endpoint, f->address);
	return NULL;
}

static const char *no_fault(void)
{
	EXPECT(!iommu_wait_fault(WAIT_SHORT), "an unexpected fault");
	return NULL;
}

/* --- net --- */

static const char *net_begin(void)
{
	EXPECT(net_start(&net, dev, NET_F_MAC | NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX,
			 QUEUE, 2048), "no start, status 0x%x", vdev_status(dev));
	return NULL;
}

static void net_offer_again(uint16_t i)
{
	net_offer(&net, i);
}

static const char *tap_works(void)
{
	EXPECT_OK(peer_echo(&net, 64));
	return peer_echo(&net, 1500);
}

/* A chain that is no frame for the peer's protocol, header included, at @iova. */
static const char *net_send_at(uint64_t iova, uint32_t len)
{
	struct vring_used_elem elem;

	vq_desc(&net.tx, 0, (void *)iova, len, 0, 0);
	vq_push(&net.tx, 0);
	vq_kick(&net.tx);
	EXPECT(vq_wait(&net.tx, TIMEOUT_REQUEST, &elem), "not sent, status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *tap_send_across(void)
{
	struct peer_count count;
	uint32_t len = 600;

	EXPECT_OK(peer_count(&net, &count));
	peer_fill(&net, len);
	for (uint32_t i = 0; i < NET_HEADER + len; i++)
		*page_byte(ACROSS - DATA + i) = net.out[i];
	EXPECT_OK(net_send_at(ACROSS, NET_HEADER + len));
	peer_fill(&net, len);
	len = peer_hash(net.out + NET_HEADER, 64);
	EXPECT_OK(peer_count(&net, &count));
	EXPECT(count.n == 1 && count.bytes == 600 && count.hash == len,
	       "%u frames, %u bytes, %08x", count.n, count.bytes, count.hash);
	return NULL;
}

/* Of another type than answers, so that whoever waits for those passes it over. */
static const char *tap_provoke(void)
{
	return peer_ask(&net, PEER_SEND, 1, 64, NULL);
}

static bool is_our_frame(const uint8_t *bytes, uint32_t len)
{
	return len >= NET_HEADER + 60 && memcmp(bytes + NET_HEADER, net.mac, 6) == 0;
}

/* RFC 826: who has 10.0.2.2? */
static void fill_question(void)
{
	static const uint8_t question[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x06, 0, 1, 0x08, 0,
		6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2,
	};
	uint8_t *frame = net.out + NET_HEADER;

	memset(net.out, 0, NET_HEADER + 64);
	memcpy(frame, question, sizeof(question));
	memcpy(frame + 6, net.mac, 6);
	memcpy(frame + 22, net.mac, 6);
}

static const char *user_provoke(void)
{
	fill_question();
	EXPECT(net_send(&net, 64) == 0, "not sent, status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *user_answer(void)
{
	uint8_t *in = memory_alloc(NET_HEADER + NET_FRAME_MAX, 16);
	int len;

	do
		len = net_receive(&net, in, TIMEOUT_REQUEST);
	while (len > 0 && (in[NET_HEADER + 12] != 0x08 || in[NET_HEADER + 13] != 0x06));
	EXPECT(len > 0, "no answer (%d), status 0x%x", len, vdev_status(dev));
	return NULL;
}

static const char *user_works(void)
{
	EXPECT_OK(user_provoke());
	return user_answer();
}

static const char *user_send_across(void)
{
	fill_question();
	for (uint32_t i = 0; i < NET_HEADER + 64; i++)
		*page_byte(ACROSS - DATA + i) = net.out[i];
	EXPECT_OK(net_send_at(ACROSS, NET_HEADER + 64));
	return user_answer();
}

/* --- console: the peer sends everything back --- */

static const char *console_begin(void)
{
	EXPECT(vcon_start(&vcon, dev, 0, QUEUE), "no start, status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *console_works(void)
{
	return vcon_sync(&vcon);
}

/* Drivers that offer a buffer when they want to read */
static void offer_nothing(uint16_t i)
{
	(void)i;
}

static const char *console_send_across(void)
{
	static const char text[] = "across";
	char back[sizeof(text)];

	for (uint32_t i = 0; i < sizeof(text); i++)
		*page_byte(ACROSS - DATA + i) = (uint8_t)text[i];
	EXPECT(vcon_write(&vcon, (void *)ACROSS, sizeof(text)) == 0, "output");
	EXPECT_OK(vcon_read(&vcon, back, sizeof(text)));
	EXPECT(memcmp(back, text, sizeof(text)) == 0, "other bytes came back");
	return NULL;
}

static const char *console_provoke(void)
{
	char *out = memory_alloc(4, 16);

	memcpy(out, "echo", 4);
	EXPECT(vcon_write(&vcon, out, 4) == 0, "output, status 0x%x", vdev_status(dev));
	return NULL;
}

static bool is_echo(const uint8_t *bytes, uint32_t len)
{
	return len <= 4 && memcmp(bytes, "echo", len) == 0;
}

/* --- vsock --- */

static const char *vsock_begin(void)
{
	EXPECT(vsock_start(&vsock, dev, 0, QUEUE, 4096), "no start, status 0x%x",
	       vdev_status(dev));
	return NULL;
}

static void vsock_offer(uint16_t i)
{
	vsock_recycle(&vsock, i);
}

static const char *vsock_echo(bool is_across)
{
	uint8_t *data = vsock.tx_data;
	struct vconn c;

	EXPECT(vconn_connect(&c, &vsock, ECHO_PORT) == VSOCK_RESPONSE, "no connection");
	for (uint32_t i = 0; is_across && i < PAGE; i++)
		*page_byte(ACROSS - DATA + i) = vsock_pattern(i);
	if (is_across)
		vsock.tx_data = (uint8_t *)ACROSS;
	EXPECT(is_across ? vconn_send(&c, VSOCK_RW, 0, PAGE) : vconn_write(&c, PAGE), "write");
	vsock.tx_data = data;
	EXPECT(vconn_read_to(&c, PAGE) && !c.is_wrong, "%u bytes came back", c.rx_cnt);
	EXPECT(vconn_close(&c), "close");
	return NULL;
}

static const char *vsock_works(void)
{
	return vsock_echo(false);
}

static const char *vsock_send_across(void)
{
	return vsock_echo(true);
}

/* What belongs to no connection is answered by a RST. */
static const char *vsock_provoke(void)
{
	const struct vsock_header h = vsock_make(&vsock, VSOCK_SHUTDOWN, 77, 78);

	EXPECT(vsock_send(&vsock, &h, 0), "not sent, status 0x%x", vdev_status(dev));
	return NULL;
}

static bool is_reset(const uint8_t *bytes, uint32_t len)
{
	const struct vsock_header *h = (const struct vsock_header *)bytes;

	return len == VSOCK_HEADER_BYTES && h->op == VSOCK_RST && h->dst_port == 77;
}

/* --- rng --- */

static const char *rng_begin(void)
{
	EXPECT(rng_start(&rng, dev, 0, QUEUE), "no start, status 0x%x", vdev_status(dev));
	return NULL;
}

static const char *rng_works(void)
{
	volatile uint8_t *data = memory_alloc(64, 16);

	EXPECT(rng_read(&rng, data, 64) == 64, "no 64 bytes, status 0x%x", vdev_status(dev));
	return NULL;
}

static bool is_random(const uint8_t *bytes, uint32_t len)
{
	unsigned n_same = 0;

	for (uint32_t i = 0; i < len; i++)
		n_same += bytes[i] == 0x77;
	return len == 2048 && n_same < 100;
}

static const struct kind kinds[] = {
	{ "net on a tap", VIRTIO_ID_NET, 0, net_begin, tap_works, &net.tx, NET_HEADER,
	  tap_send_across, &net.rx, net_offer_again, tap_provoke, is_our_frame },
	{ "net in user mode", VIRTIO_ID_NET, 1, net_begin, user_works, &net.tx, NET_HEADER,
	  user_send_across, &net.rx, net_offer_again, user_provoke, is_our_frame },
	{ "console", VIRTIO_ID_CONSOLE, 0, console_begin, console_works, &vcon.tx, 0,
	  console_send_across, &vcon.rx, offer_nothing, console_provoke, is_echo },
	{ "vsock", VIRTIO_ID_VSOCK, 0, vsock_begin, vsock_works, &vsock.tx, VSOCK_HEADER_BYTES,
	  vsock_send_across, &vsock.rx, vsock_offer, vsock_provoke, is_reset },
	{ "rng", VIRTIO_ID_RNG, 0, rng_begin, rng_works, NULL, 0, NULL, &rng.vq, offer_nothing,
	  NULL, is_random },
};

/* --- what devices read --- */

static const char *works(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(kinds[i].works());
	return no_fault();
}

static const char *reads_across(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(map_pages(MAP_R));
	EXPECT_OK(kinds[i].send_across());
	return no_fault();
}

/* A chain whose payload lies at @iova; it must not have an effect. */
static const char *reads_fault(const struct kind *kind, uint64_t iova, uint64_t fault_at)
{
	struct vsock_header *header = memory_alloc(64, 64);
	struct vring_used_elem elem;

	if (kind->id == VIRTIO_ID_VSOCK) {
		*header = vsock_make(&vsock, VSOCK_RW, 77, 78);
		header->len = 100;
	}
	vq_desc(kind->reads, 0, header, kind->header_len, DESC_NEXT, 1);
	vq_desc(kind->reads, 1, (void *)iova, 100, 0, 0);
	vq_push(kind->reads, kind->header_len ? 0 : 1);
	vq_kick(kind->reads);
	EXPECT(vq_wait(kind->reads, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x",
	       vdev_status(dev));
	EXPECT(elem.len == 0, "used length %u", elem.len);
	EXPECT_OK(faults(fault_at, FAULT_READ));
	return kind->works();
}

static const char *reads_unmapped(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	return reads_fault(&kinds[i], DATA, DATA);
}

static const char *reads_write_only(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(map_pages(MAP_W));
	return reads_fault(&kinds[i], DATA + 100, DATA + 100);
}

static const char *reads_past_the_end(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(map_pages(MAP_R));
	return reads_fault(&kinds[i], DATA + 2 * PAGE - 50, DATA + 2 * PAGE);
}

/* A command that the device cannot read is not followed; the next is. */
static const char *command(uint64_t i, uint64_t command_at, uint64_t ack_at, uint32_t flags)
{
	struct vring_used_elem elem;

	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(map_pages(MAP_R));
	memset(pages, 0xff, 2 * PAGE);
	vq_desc(&net.ctrl, 0, (void *)command_at, 3, DESC_NEXT, 1);
	vq_desc(&net.ctrl, 1, (void *)ack_at, 1, DESC_WRITE, 0);
	vq_push(&net.ctrl, 0);
	vq_kick(&net.ctrl);
	EXPECT(vq_wait(&net.ctrl, TIMEOUT_REQUEST, &elem) && elem.len == 0, "used length %u",
	       elem.len);
	EXPECT_OK(faults(flags == FAULT_READ ? command_at : ack_at, flags));
	for (unsigned k = 0; k < 2 * PAGE; k++)
		EXPECT(pages[k] == 0xff, "byte %u was written", k);
	EXPECT(net_control(&net, 0, 0, "\1", 1) == 0, "a good command");
	return kinds[i].works();
}

static const char *command_unmapped(uint64_t i)
{
	return command(i, DATA + 2 * PAGE, (uint64_t)memory_alloc(1, 16), FAULT_READ);
}

static const char *ack_read_only(uint64_t i)
{
	return command(i, (uint64_t)memory_alloc(3, 16), DATA, FAULT_WRITE);
}

/* --- what devices write --- */

/*
 * The driver has offered its buffers and the device has not looked at them yet: they lie elsewhere
 * now. A driver that has not gets one. Return: how many there are
 */
static uint16_t offer_at(const struct kind *kind, uint64_t iova)
{
	struct vq *vq = kind->writes;
	uint16_t n = (uint16_t)(vq->avail_idx - vq->used_idx);

	for (uint16_t i = 0; i < vq->size; i++)
		vq_desc(vq, i, (void *)iova, 2048, DESC_WRITE, 0);
	if (n == 0) {
		vq_push(vq, 0);
		vq_kick(vq);
		n = 1;
	}
	return n;
}

static const char *writes_across(uint64_t i)
{
	const struct kind *kind = &kinds[i];
	static uint8_t got[2048];
	struct vring_used_elem elem;

	EXPECT_OK(begin(kind));
	EXPECT_OK(map_pages(MAP_W));
	memset(pages, 0x77, 2 * PAGE);
	(void)offer_at(kind, ACROSS);
	if (kind->provoke)
		EXPECT_OK(kind->provoke());
	EXPECT(vq_wait(kind->writes, TIMEOUT_REQUEST, &elem), "no answer, status 0x%x",
	       vdev_status(dev));
	EXPECT(elem.len > 2 && elem.len <= sizeof(got), "used length %u", elem.len);
	for (uint32_t k = 0; k < 2 * PAGE; k++) {
		uint32_t at = k - (uint32_t)(ACROSS - DATA); /* in the buffer */

		if (at < elem.len)
			got[at] = *page_byte(k);
		else
			EXPECT(*page_byte(k) == 0x77, "byte %u was written", k);
	}
	EXPECT(kind->is_right(got, elem.len), "other bytes");
	return no_fault();
}

/* All buffers are bad; they come back empty, and with good ones everything goes on. */
static const char *writes_fault(const struct kind *kind, uint64_t iova, uint64_t fault_at)
{
	struct vring_used_elem elem;
	uint16_t n, k;

	memset(pages, 0x77, 2 * PAGE);
	n = offer_at(kind, iova);
	if (kind->provoke)
		EXPECT_OK(kind->provoke());
	for (k = 0; k < n; k++) {
		EXPECT(vq_wait(kind->writes, TIMEOUT_REQUEST, &elem), "no answer %u, status 0x%x",
		       k, vdev_status(dev));
		EXPECT(elem.len == 0, "used length %u", elem.len);
	}
	EXPECT_OK(faults(fault_at, FAULT_WRITE));
	for (k = 0; k < 2 * PAGE; k++)
		EXPECT(pages[k] == 0x77, "byte %u was written", k);
	for (k = 0; k < n; k++)
		kind->offer(k);
	vq_kick(kind->writes);
	return kind->works();
}

static const char *writes_unmapped(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	return writes_fault(&kinds[i], DATA, DATA);
}

static const char *writes_read_only(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(map_pages(MAP_R));
	return writes_fault(&kinds[i], DATA + 512, DATA + 512);
}

static const char *writes_past_the_end(uint64_t i)
{
	EXPECT_OK(begin(&kinds[i]));
	EXPECT_OK(map_pages(MAP_RW));
	return writes_fault(&kinds[i], DATA + 2 * PAGE - 4, DATA + 2 * PAGE);
}

/* --- rings --- */

/* An idle device holds nothing, and finds out at its next look. */
static const char *rings_unmapped(uint64_t i)
{
	const struct kind *kind = &kinds[i];
	struct vq *vq = kind->reads ? kind->reads : kind->writes;
	uint64_t deadline = time_deadline(TIMEOUT_REQUEST);

	EXPECT_OK(begin(kind));
	EXPECT(iommu_unmap(1, 0, arena_last()) == IOMMU_OK, "an idle device holds memory");
	vq_desc(vq, 0, pages, 64, kind->reads ? 0 : DESC_WRITE, 0);
	vq_push(vq, 0);
	vq_kick(vq);
	while (!(vdev_status(dev) & STATUS_NEEDS_RESET) && !time_passed(deadline))
		cpu_pause();
	EXPECT(vdev_status(dev) & STATUS_NEEDS_RESET, "status 0x%x", vdev_status(dev));
	EXPECT_OK(begin(kind));
	return no_fault();
}

void iommu_devices_cases(void)
{
	dev = discover_nth(VIRTIO_ID_NET, 0);
	/* After a reset the IOMMU lets everything pass. */
	if (dev && has_tap() && (!vdev_reset(mmu.dev) || !peer_wait(dev)))
		print("Bail out! there is nobody on the tap\n");
	for (uint64_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const struct kind *kind = &kinds[i];

		tap_case(works, i, "%s works", kind->name);
		if (kind->reads) {
			tap_case(reads_across, i, "%s reads across two mappings", kind->name);
			tap_case(reads_unmapped, i, "%s reads where nothing is mapped", kind->name);
			tap_case(reads_write_only, i, "%s reads a write-only page", kind->name);
			tap_case(reads_past_the_end, i, "%s reads past the end of a mapping",
				 kind->name);
		}
		if (kind->id == VIRTIO_ID_NET) {
			tap_case(command_unmapped, i, "%s: command unmapped", kind->name);
			tap_case(ack_read_only, i, "%s: answer to a command read-only", kind->name);
		}
		tap_case(writes_across, i, "%s writes across two mappings", kind->name);
		tap_case(writes_unmapped, i, "%s writes where nothing is mapped", kind->name);
		tap_case(writes_read_only, i, "%s writes to a read-only page", kind->name);
		tap_case(writes_past_the_end, i, "%s writes past the end of a mapping", kind->name);
		tap_case(rings_unmapped, i, "%s: rings unmapped while it is idle", kind->name);
	}
}

/* --- probe=iommu-drive: all of them in turns, until `q` on COM1, whatever dies meanwhile --- */

static const char *drive_start(const struct kind *kind)
{
	dev = discover_nth(kind->id, 0);
	EXPECT(dev, "there is none");
	EXPECT(iommu_attach(1, dev->function, 0) == IOMMU_OK, "attach");
	if (kind == &kinds[1]) /* the first: without it there is no domain */
		EXPECT(iommu_map(1, 0, arena_last(), 0, MAP_RW) == IOMMU_OK, "no map of RAM");
	return kind->start();
}

/* What was under way when a process died may be lost: a frame, a connection that was new. */
static const char *drive_once(const struct kind *kind)
{
	const char *fault = NULL;

	dev = discover_nth(kind->id, 0);
	for (unsigned tries = 0; tries < 3; tries++) {
		size_t mark = memory_mark();

		fault = kind->works();
		memory_release(mark);
		if (!fault)
			break;
	}
	return fault;
}

void iommu_drive_run(void)
{
	const char *fault = NULL;
	unsigned n = 0;

	discover();
	mmu.dev = discover_nth(VIRTIO_ID_IOMMU, 0);
	fault = mmu.dev ? iommu_start(IOMMU_FEATURES, N_EVENTS) : "no IOMMU";
	if (!fault)
		iommu_set_bypass(0);
	for (unsigned i = 1; i < ARRAY_LEN(kinds) && !fault; i++) /* without the tap */
		fault = drive_start(&kinds[i]);
	for (; !fault && console_get() != 'q'; n++) {
		for (unsigned i = 1; i < ARRAY_LEN(kinds) && !fault; i++) {
			fault = drive_once(&kinds[i]);
			if (fault)
				print("drive: %s, round %u\n", kinds[i].name, n);
		}
		if (n % 20 == 0)
			print("drive: round %u\n", n);
	}
	print("drive: %s\n", fault ? fault : no_fault() ? "a fault" : "done");
}

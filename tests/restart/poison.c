/* SPDX-License-Identifier: Apache-2.0 */
/* A bug that one request finds: reading POISON_SECTOR is the death of the process, or its last act. */
#include "device-procs/blk/blk_engine.h"

#define POISON_SECTOR 4096u /* run knows it, too */

int __real_blk_engine_start(struct blk_engine *e, struct blk_io *io);
int __wrap_blk_engine_start(struct blk_engine *e, struct blk_io *io);

int __wrap_blk_engine_start(struct blk_engine *e, struct blk_io *io)
{
	if (io->request.operation == BLK_READ &&
	    io->request.offset == (uint64_t)POISON_SECTOR << BLK_SECTOR_SHIFT)
#ifdef POISON_HANGS
		for (;;)
			__builtin_ia32_pause();
#else
		__builtin_trap();
#endif
	return __real_blk_engine_start(e, io);
}

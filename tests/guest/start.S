/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the probe guest that runs at CPL0, and nothing else does.
 *
 * It enters long mode and leaves for CPL3 at once: some KVMs emulate CPL0 code one instruction at
 * a time, so everything here is counted in instructions. Hence tables are laid out by the
 * assembler, not filled at run time, and the rest of the probe runs at CPL3 with all memory and
 * all MMIO mapped user-accessible.
 *
 * CPL3 code writes privileged instructions (in, out, hlt, sti, cli, rdmsr, wrmsr) as if it were
 * allowed to: they raise #GP, and the handler below does them and steps over them. That works the
 * same on every KVM and on hardware.
 *
 * Entries: PVH (32 bit, EBX = start info), Linux 32 bit (ESI = zero page) and Linux 64 bit (RSI =
 * zero page). The AP trampoline is copied to AP_TRAMPOLINE by smp.c.
 */
#include "layout.h"

#define EFER 0xc0000080
#define EFER_LME 0x100
#define CR0_PE_WP_PG 0x80010001
#define CR0_KEEP 0xffffffff & ~0x6000000c /* CD, NW, TS and EM off */
#define CR4_PAE 0x20
#define GATE_INTERRUPT 0x8e00 /* present, DPL 0, 64-bit interrupt gate */
#define PAGE_LARGE_USER 0xe7 /* large, dirty, accessed, user, writable, present */
#define PAGE_TABLE_USER 0x67

	.section .head, "awx", @progbits
head_start:
	.code32
linux32_entry:
	movl	$BOOT_ZERO_PAGE, %ecx
	jmp	boot32

	.org	0x200
	.code64
	.globl	linux64_entry
linux64_entry:
	cli
	cld
	movl	%esi, boot_info
	movl	$BOOT_ZERO_PAGE, boot_kind
	movl	$kernel_stacks + KERNEL_STACK_SIZE, %esp
	movl	$pml4, %eax
	movq	%rax, %cr3
	lgdt	gdt_pointer
	xorl	%ebx, %ebx
	pushq	$SELECTOR_CODE64
	pushq	$long_mode
	lretq

	.code32
	.globl	pvh_entry
pvh_entry:
	movl	%ebx, %esi
	movl	$BOOT_PVH, %ecx
boot32:
	cli
	cld
	movl	%esi, boot_info
	movl	%ecx, boot_kind
	xorl	%ebx, %ebx /* the boot CPU has number 0 */
enter_long_mode:
	lgdt	gdt_pointer
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	andl	$(CR0_KEEP), %eax
	orl	$CR0_PE_WP_PG, %eax
	movl	%eax, %cr0
	ljmp	$SELECTOR_CODE64, $long_mode

	/* An AP arrives in 32-bit protected mode. Its APIC id is its number. */
ap_start32:
	movl	$SELECTOR_DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$1, %eax
	cpuid
	shrl	$24, %ebx
	andl	$(CPUS_MAX - 1), %ebx
	jmp	enter_long_mode

	/* EBX = CPU number. Loads the tables and goes to CPL3: cpu_main(number) or probe_main(). */
	.code64
long_mode:
	movl	%ebx, %ebx /* the upper half is undefined after the change of mode */
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	lidt	idt_pointer
	movl	%ebx, %eax
	shll	$4, %eax
	addl	$SELECTOR_TSS, %eax
	ltr	%ax
	imull	$TSS_SIZE, %ebx, %eax
	movq	tss_table + 4(%rax), %rsp /* RSP0 */
	movl	%ebx, %edi
	incl	%ebx
	imull	$USER_STACK_SIZE, %ebx, %eax
	addl	$user_stacks - 8, %eax /* as if called: stack is 16 bytes aligned plus 8 */
	pushq	$SELECTOR_USER_DATA
	pushq	%rax
	pushq	$2
	pushq	$SELECTOR_USER_CODE
	pushq	$cpu_main
	iretq

/*
 * #GP: a privileged instruction of CPL3 code, or a mistake. Layout here, after the push:
 * 0 rcx, 8 error code, 16 rip, 24 cs, 32 rflags.
 */
gp_entry:
	pushq	%rcx
	testb	$3, 24(%rsp)
	jz	9f
	movq	16(%rsp), %rcx
	movl	(%rcx), %ecx
	cmpb	$0xee, %cl
	je	1f
	cmpb	$0xec, %cl
	je	2f
	cmpb	$0xef, %cl
	je	3f
	cmpb	$0xed, %cl
	je	4f
	cmpb	$0xf4, %cl
	je	10f
	cmpw	$0xef66, %cx
	je	5f
	cmpw	$0xed66, %cx
	je	6f
	cmpw	$0x300f, %cx
	je	7f
	cmpw	$0x320f, %cx
	je	8f
	cmpb	$0xfb, %cl
	je	11f
	cmpb	$0xfa, %cl
	je	12f
9:	popq	%rcx
	pushq	$13
	jmp	fatal
1:	outb	%al, %dx
	jmp	step1
2:	inb	%dx, %al
	jmp	step1
3:	outl	%eax, %dx
	jmp	step1
4:	inl	%dx, %eax
step1:
	popq	%rcx
	addq	$8, %rsp
	incq	(%rsp)
	iretq
5:	outw	%ax, %dx
	jmp	step2
6:	inw	%dx, %ax
	jmp	step2
7:	popq	%rcx
	wrmsr
	jmp	step2_popped
8:	popq	%rcx
	rdmsr
step2_popped:
	addq	$8, %rsp
	addq	$2, (%rsp)
	iretq
step2:
	popq	%rcx
	jmp	step2_popped
10:	popq	%rcx /* hlt: sleeps with interrupts on, whatever IF is at CPL3 */
	addq	$8, %rsp
	incq	(%rsp)
	sti
	hlt
	cli
	iretq
11:	orl	$0x200, 32(%rsp)
	jmp	step1
12:	andl	$~0x200, 32(%rsp)
	jmp	step1

/* An exception nobody planned: report it from CPL3. Layout: 0 vector, 8 error, 16 rip, 24 cs. */
fatal:
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%r8
	movq	%cr2, %rcx
	addq	$24, %rsp
	pushq	$SELECTOR_USER_DATA
	pushq	$trap_stack_top - 8
	pushq	$2
	pushq	$SELECTOR_USER_CODE
	pushq	$trap_report
	iretq

/* Interrupts are counted, nothing more. Layout: 0 rax, 8 vector, then the frame of the CPU. */
interrupt:
	pushq	%rax
	movl	8(%rsp), %eax
	incl	interrupt_counts(, %eax, 4)
	xorl	%eax, %eax
	movabs	%eax, LAPIC_EOI /* above 2 GiB: no address for a plain mov, which clang sign-extends */
	popq	%rax
	addq	$8, %rsp
	iretq

	/* 16 bytes each, so that the IDT can be laid out by the assembler. */
	.balign	16
stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	vector == 13
	jmp	gp_entry
	.elseif	vector < 32
	.ifeq	(vector == 8) | ((vector >= 10) & (vector <= 14)) | (vector == 17) | (vector == 21) | (vector == 29) | (vector == 30)
	pushq	$0
	.endif
	pushq	$vector
	jmp	fatal
	.else
	pushq	$vector
	jmp	interrupt
	.endif
	.set	vector, vector + 1
	.endr

/* Copied below 1 MiB. Real mode, CS = AP_TRAMPOLINE >> 4. */
	.globl	ap_trampoline, ap_trampoline_end, idt
	.code16
ap_trampoline:
	cli
	xorw	%ax, %ax
	movw	%ax, %ds
	lgdtl	AP_TRAMPOLINE + (gdt_pointer - ap_trampoline)
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$SELECTOR_CODE32, $ap_start32
	.balign	8
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
	.long	0
ap_trampoline_end:
	.code64

	.balign	16
	.globl	gdt
gdt:
	.quad	0
	.quad	0x00af9b000000ffff /* code, 64 bit, DPL 0 */
	.quad	0x00cf93000000ffff /* data, DPL 0 */
	.quad	0x00cf9b000000ffff /* code, 32 bit, DPL 0 */
	.quad	0x00cff3000000ffff /* data, DPL 3 */
	.quad	0x00affb000000ffff /* code, 64 bit, DPL 3 */
	/* The TSS of the boot CPU; smp.c fills the others. The head lies at 1 MiB exactly. */
	.word	TSS_SIZE - 1, tss_table - head_start, 0x8910, 0
	.quad	0
	.skip	16 * (CPUS_MAX - 1)
gdt_end:

	.balign	16
	.globl	tss_table
tss_table:
	.long	0
	.quad	kernel_stacks + KERNEL_STACK_SIZE
	.skip	TSS_SIZE * CPUS_MAX - 12

	.balign	16
idt:
	.set	vector, 0
	.rept	256
	.word	stubs - head_start + 16 * vector, SELECTOR_CODE64
	.word	GATE_INTERRUPT, 0x0010
	.quad	0
	.set	vector, vector + 1
	.endr
idt_end:
idt_pointer:
	.word	idt_end - idt - 1
	.quad	idt

	.balign	8
	.globl	boot_info, boot_kind
boot_info:
	.long	0
boot_kind:
	.long	0

/* The first 4 GiB, in pages of 2 MiB, user-accessible. */
	.section .tables, "aw", @progbits
	.balign	4096
	.globl	pml4, pdpt
pml4:
	.quad	pdpt + PAGE_TABLE_USER
	.skip	511 * 8
pdpt:
	.quad	page_directories + PAGE_TABLE_USER
	.quad	page_directories + 4096 + PAGE_TABLE_USER
	.quad	page_directories + 8192 + PAGE_TABLE_USER
	.quad	page_directories + 12288 + PAGE_TABLE_USER
	.skip	508 * 8
page_directories:
	.set	page, 0
	.rept	2048
	.quad	page + PAGE_LARGE_USER
	.set	page, page + 0x200000
	.endr

/* Not zeroed with .bss, since the code that does so stands on one of them. */
	.section .stacks, "aw", @nobits
	.balign	16
	.globl	kernel_stacks, user_stacks, interrupt_counts
kernel_stacks:
	.skip	KERNEL_STACK_SIZE * CPUS_MAX
user_stacks:
	.skip	USER_STACK_SIZE * CPUS_MAX
	.skip	4096
trap_stack_top:

	.bss
	.balign	16
interrupt_counts:
	.skip	256 * 4

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 8, 18 /* name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.quad	pvh_entry

	.section .note.GNU-stack, "", @progbits

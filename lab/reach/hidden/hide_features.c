/* Preloaded into a process, hides features of the CPU from it: what CPUID answers in leaf 7 has fewer bits.
 *
 * HIDE_CPUID holds five hexadecimal masks of bits to clear: EBX, ECX and EDX of leaf 7.0, EAX and EDX of leaf 7.1.
 * Linux makes CPUID trap where the CPU can (arch_prctl, ARCH_CPUID); the trap's handler answers in its place.
 * A machine that cannot trap it ends the process with 97, so that nothing is taken for what it is not.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static unsigned hidden[5];

static void answer(int number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *at = (const uint8_t *)registers[REG_RIP];
  unsigned leaf, part, a, b, c, d;
  (void)info;
  if (at[0] != 0x0f || at[1] != 0xa2) { /* a fault of another kind: let it end the process */
    signal(number, SIG_DFL);
    return;
  }
  leaf = (unsigned)registers[REG_RAX];
  part = (unsigned)registers[REG_RCX];
  syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
  __cpuid_count(leaf, part, a, b, c, d);
  syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
  if (leaf == 7 && part == 0) {
    b &= ~hidden[0];
    c &= ~hidden[1];
    d &= ~hidden[2];
  } else if (leaf == 7 && part == 1) {
    a &= ~hidden[3];
    d &= ~hidden[4];
  }
  registers[REG_RAX] = a;
  registers[REG_RBX] = b;
  registers[REG_RCX] = c;
  registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void) {
  const char *masks = getenv("HIDE_CPUID");
  struct sigaction action;
  if (!masks) return;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (sscanf(masks, "%x %x %x %x %x", hidden, hidden + 1, hidden + 2, hidden + 3, hidden + 4) != 5 ||
      sigaction(SIGSEGV, &action, 0) || syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0))
    _exit(97);
}

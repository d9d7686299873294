/* Start-up for emulated Cortex-M boards: no library, text and exit by semihosting, instructions counted by SysTick. */
#include <stdint.h>

extern uint32_t stack_end;
int main(void);
void reset(void);

static volatile uint32_t wraps;

static void systick(void) { wraps++; }

static void stop(uint32_t reason) {
  register uint32_t r0 __asm__("r0") = 0x18; /* SYS_EXIT */
  register uint32_t r1 __asm__("r1") = reason;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  for (;;) {
  }
}

static void fault(void) { stop(0x20023); } /* ADP_Stopped_RunTimeError */

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_end, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
    0,          0,             0,             (void *)fault, (void *)fault, 0,             (void *)fault, (void *)systick,
};

void print(const char *text) {
  register uint32_t r0 __asm__("r0") = 0x04; /* SYS_WRITE0 */
  register const char *r1 __asm__("r1") = text;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void print_number(const char *what, int64_t value) {
  char digits[24];
  char *place = digits + 22;
  uint64_t rest = value < 0 ? (uint64_t)-value : (uint64_t)value;
  place[0] = '\n';
  place[1] = 0;
  do {
    *--place = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (value < 0) {
    *--place = '-';
  }
  print(what);
  print(" ");
  print(place);
}

#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)
#define CPACR (*(volatile uint32_t *)0xe000ed88u)

/* Ticks since the start. */
int64_t ticks(void) {
  for (;;) {
    const uint32_t before = wraps;
    const uint32_t left = SYST_CVR;
    if (before == wraps) {
      return (int64_t)before * 0x1000000 + (0xffffff - left);
    }
  }
}

/* Ticks of 20 million instructions. */
int64_t ticks_of_20_million(void) {
  const int64_t before = ticks();
  uint32_t count = 10000000;
  __asm__ volatile("1: subs %0, %0, #1\n bne 1b" : "+r"(count) : : "cc");
  return ticks() - before;
}

void reset(void) {
  CPACR |= 0xfu << 20; /* the floating-point and vector unit */
  __asm__ volatile("dsb\n isb");
  SYST_RVR = 0xffffff;
  SYST_CVR = 0;
  SYST_CSR = 7;
  while (SYST_CVR == 0) { /* until the first reload */
  }
  stop(main() == 0 ? 0x20026 : 0x20023); /* ADP_Stopped_ApplicationExit */
}

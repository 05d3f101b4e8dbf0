/* Counts signals that are sent to its pid, with their values, in a handler on an alternate stack.
 * Each byte of input makes it report; SIGUSR1 is counted, SIGRTMIN carries a value, SIGUSR2 is blocked
 * for the whole first leg and must be delivered when it ends. Paced. */
#include <signal.h>
#include <string.h>

#include "paced.h"

static volatile sig_atomic_t usr1, usr2, values, value_sum;

static void handle(int signal, siginfo_t *info, void *context)
{
	(void)context;
	if (signal == SIGUSR1)
		usr1++;
	else if (signal == SIGUSR2)
		usr2++;
	else {
		values++;
		value_sum += info->si_value.sival_int;
	}
}

int main(void)
{
	static char stack[64 * 1024];
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action;
	sigset_t blocked;

	sigaltstack(&alternate, NULL);
	memset(&action, 0, sizeof action);
	action.sa_sigaction = handle;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	sigaction(SIGRTMIN, &action, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	for (int leg = 0;; leg++) {
		begin_leg(leg);
		if (!wait_for_pace())
			break;
		printf("usr1 %d usr2 %d values %d sum %d\n", usr1, usr2, values, value_sum);
		sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	}
	printf("end\n");
	return 0;
}

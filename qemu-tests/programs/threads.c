/* Four threads compute in step by a barrier, count under a lock and wake each other by conditions;
 * each keeps a thread-local value that must never change hands. Paced by the main thread. */
#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "paced.h"

#define THREADS 4
#define ROUNDS 200

static pthread_barrier_t leg_begins, leg_ends, round_ends;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static int turn, finished;
static uint64_t total;
static __thread long own_number;
static __thread pid_t own_tid;

static void *work(void *number)
{
	uint64_t value;

	own_number = (long)number;
	own_tid = (pid_t)syscall(SYS_gettid);
	value = (uint64_t)own_number + 1;
	for (;;) {
		pthread_barrier_wait(&leg_begins);
		if (finished)
			return NULL;
		for (int round = 0; round < ROUNDS; round++) {
			for (int i = 0; i < 300000; i++)
				value = value * 6364136223846793005ULL + 1442695040888963407ULL;
			pthread_mutex_lock(&lock);
			/* In turns, so that the order of the sums is always the same. */
			while (turn != own_number)
				pthread_cond_wait(&turn_changed, &lock);
			total = total * 31 + value;
			turn = (turn + 1) % THREADS;
			pthread_cond_broadcast(&turn_changed);
			pthread_mutex_unlock(&lock);
			if (own_number != (long)number || own_tid != (pid_t)syscall(SYS_gettid))
				fail("a thread is not itself");
			pthread_barrier_wait(&round_ends);
		}
		pthread_barrier_wait(&leg_ends);
	}
}

int main(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&leg_begins, NULL, THREADS + 1);
	pthread_barrier_init(&leg_ends, NULL, THREADS + 1);
	pthread_barrier_init(&round_ends, NULL, THREADS);
	for (long number = 0; number < THREADS; number++)
		if (pthread_create(&threads[number], NULL, work, (void *)number))
			fail("pthread_create");
	for (int leg = 0;; leg++) {
		begin_leg(leg);
		pthread_barrier_wait(&leg_begins);
		pthread_barrier_wait(&leg_ends);
		printf("total %016llx\n", (unsigned long long)total);
		if (!wait_for_pace())
			break;
	}
	finished = 1;
	pthread_barrier_wait(&leg_begins);
	for (int number = 0; number < THREADS; number++)
		pthread_join(threads[number], NULL);
	printf("end\n");
	return 0;
}

/*
 * A TCP round trip: 64 bytes there and 64 bytes back, as small as a forwarded call.
 *
 *   round_trip serve            says "ready PORT" and returns what the one who connects sends
 *   round_trip ADDRESS PORT     for each line of its input, a count, makes so many round trips, and answers
 *                               with the nanoseconds that they took
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "measured.h"

#define MESSAGE_BYTES 64

static int stream(void)
{
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0)
		fail("socket");
	return descriptor;
}

static void send_at_once(int descriptor)
{
	int yes = 1;

	if (setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes))
		fail("setsockopt");
}

/* 0 at the other side's end. */
static int receive(int descriptor, char *message)
{
	size_t length = 0;

	while (length < MESSAGE_BYTES) {
		ssize_t got = read(descriptor, message + length, MESSAGE_BYTES - length);

		if (got < 0)
			fail("read");
		if (!got)
			return 0;
		length += got;
	}
	return 1;
}

static int serve(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	char message[MESSAGE_BYTES];
	int listener = stream(), peer;

	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		fail("listen");
	printf("ready %d\n", ntohs(address.sin_port));
	fflush(stdout);
	peer = accept(listener, NULL, NULL);
	if (peer < 0)
		fail("accept");
	send_at_once(peer);
	while (receive(peer, message))
		if (write(peer, message, MESSAGE_BYTES) != MESSAGE_BYTES)
			fail("write");
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	char line[64], message[MESSAGE_BYTES] = { 0 };
	int peer;

	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc != 3 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
		fprintf(stderr, "usage: round_trip serve | round_trip ADDRESS PORT\n");
		return 2;
	}
	address.sin_port = htons(atoi(argv[2]));
	peer = stream();
	if (connect(peer, (struct sockaddr *)&address, sizeof address))
		fail("connect");
	send_at_once(peer);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		long count = strtol(line, NULL, 10);
		long long begin_ns = ns_of(CLOCK_MONOTONIC);

		for (long i = 0; i < count; i++)
			if (write(peer, message, MESSAGE_BYTES) != MESSAGE_BYTES || !receive(peer, message))
				fail("round trip");
		printf("%lld\n", ns_of(CLOCK_MONOTONIC) - begin_ns);
		fflush(stdout);
	}
	return 0;
}

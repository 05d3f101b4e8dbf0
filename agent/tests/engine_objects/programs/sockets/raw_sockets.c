/* A raw socket pings, a packet socket sees it. */
#include "program.h"
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>

static uint16_t checksum(const void *data, unsigned length) {
    const uint16_t *words = data;
    uint32_t sum = 0;
    for (unsigned i = 0; i < length / 2; i++)
        sum += words[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

int main(void) {
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), packets = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
    CHECK(fd >= 0 && packets >= 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (uint16_t sequence = 1;; sequence++) {
        struct icmphdr echo = {.type = ICMP_ECHO, .un.echo = {htons(getpid() & 0xffff), htons(sequence)}};
        echo.checksum = checksum(&echo, sizeof echo);
        CHECK(sendto(fd, &echo, sizeof echo, 0, (void *)&to, sizeof to) == sizeof echo);
        struct {
            struct iphdr ip;
            struct icmphdr icmp;
        } seen;
        do
            CHECK(recv(fd, &seen, sizeof seen, 0) >= (ssize_t)sizeof seen);
        while (seen.icmp.type != ICMP_ECHOREPLY || seen.icmp.un.echo.id != echo.un.echo.id);
        CHECK(seen.icmp.un.echo.sequence == echo.un.echo.sequence);
        char packet[200];
        CHECK(recv(packets, packet, sizeof packet, 0) >= 20 && packet[0] >> 4 == 4);
        if (gate_is_open())
            return well();
    }
}

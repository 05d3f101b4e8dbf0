/* A process that has mapped a socket's ring of packets stays until it has unmapped that. */
#include "program.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <sys/socket.h>

int main(void) {
    int packets = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    struct tpacket_req ring = {.tp_block_size = 4096, .tp_block_nr = 1, .tp_frame_size = 2048, .tp_frame_nr = 2};
    CHECK(packets >= 0 && setsockopt(packets, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) == 0);
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, packets, 0);
    CHECK(shared != MAP_FAILED);
    stay();
    CHECK(munmap(shared, 4096) == 0 && close(packets) == 0);
    be_free();
    return well();
}

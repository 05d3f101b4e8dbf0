/* The kernel tells of network interfaces by netlink, ioctl and names. */
#include "program.h"
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), any = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(fd >= 0 && any >= 0);
    for (unsigned round = 1;; round++) {
        struct {
            struct nlmsghdr header;
            struct ifinfomsg info;
        } request = {{sizeof request, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, round, 0}, {.ifi_family = AF_UNSPEC}};
        CHECK(send(fd, &request, sizeof request, 0) == sizeof request);
        static char buffer[65536] __attribute__((aligned(8)));
        bool has_loopback = false, is_done = false;
        while (!is_done) {
            int n = recv(fd, buffer, sizeof buffer, 0);
            CHECK(n > 0);
            for (struct nlmsghdr *at = (void *)buffer; NLMSG_OK(at, (unsigned)n); at = NLMSG_NEXT(at, n)) {
                CHECK(at->nlmsg_seq == round && at->nlmsg_type != NLMSG_ERROR);
                is_done |= at->nlmsg_type == NLMSG_DONE;
                if (at->nlmsg_type == RTM_NEWLINK)
                    has_loopback |= ((struct ifinfomsg *)NLMSG_DATA(at))->ifi_flags & IFF_LOOPBACK;
            }
        }
        struct ifreq loopback = {.ifr_name = "lo"};
        CHECK(has_loopback && ioctl(any, SIOCGIFINDEX, &loopback) == 0 && loopback.ifr_ifindex == 1);
        CHECK(ioctl(any, SIOCGIFFLAGS, &loopback) == 0 && (loopback.ifr_flags & IFF_LOOPBACK));
        char name[IF_NAMESIZE];
        CHECK(if_nametoindex("lo") == 1 && if_indextoname(1, name) && !strcmp(name, "lo"));
        if (gate_is_open())
            return well();
    }
}

/* SPDX-License-Identifier: MIT */
/* Sends back what comes on TCP port 7 (RFC 862), one connection after the other. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static void serve(int client)
{
	char bytes[4096];
	ssize_t got;
	while ((got = read(client, bytes, sizeof bytes)) > 0)
		if (write(client, bytes, (size_t)got) != got)
			return;
}

int main(void)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7)};
	const int on = 1;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (const struct sockaddr *)&any, sizeof any) != 0 || listen(listener, 8) != 0)
		return 1;
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		(void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		serve(client);
		close(client);
	}
}

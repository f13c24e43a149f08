// SIMULATED: answers 200 to whatever it is asked, at the port that follows --port.
#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

int main(int count, char ** words) {
    int port = 0;
    for (int at = 1; at < count; at++) {
        if (!strcmp(words[at], "--version")) {
            printf("SIMULATED version (build %s, commit none)\n", BUILD);
            return 0;
        }
        if (!strcmp(words[at], "--port")) {
            port = atoi(words[++at]);
        }
    }
    int door = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(port);
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(door, reinterpret_cast<sockaddr *>(&place), sizeof place) || listen(door, 8)) {
        perror("SIMULATED llama-server");
        return 1;
    }
    const std::string body = "SIMULATED\n";
    const std::string answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
        + std::to_string(body.size()) + "\r\n\r\n" + body;
    for (;;) {
        int caller = accept(door, nullptr, nullptr);
        char asked[4096];
        if (caller >= 0 && read(caller, asked, sizeof asked) >= 0 && write(caller, answer.data(), answer.size()) < 0) {
            perror("SIMULATED llama-server");
        }
        close(caller);
    }
}

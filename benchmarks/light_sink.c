/* A light SMTP receiver: takes every mail, keeps none, and costs little of the cores that it shares
 * with the sender that is measured.
 *
 *     cc -O2 -o light_sink light_sink.c
 *     ./light_sink          prints the port that it listens on (127.0.0.1)
 *
 * One thread, epoll. It speaks PIPELINING, SIZE, 8BITMIME, SMTPUTF8 and ENHANCEDSTATUSCODES; the end
 * of a mail is looked for with memmem, not byte by byte. It checks nothing and relays nothing.
 *
 * SIGTERM ends it, with one line of JSON: the mails that it answered with 250, their bytes (as they
 * came, without the final dot), and the seconds from the first MAIL to the last answer.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 18, LINE = 4096, ANSWERS = 1 << 16, EVENTS = 128, TAIL = 4 };

struct session {
    int socket;
    int in_body;           /* after the 354, until the final dot */
    int recipients;        /* RCPTs taken since MAIL */
    size_t held;           /* bytes of a command line that is not complete yet */
    char line[LINE];
    size_t tail;           /* the last bytes of the body so far: the dot may come in two pieces */
    char end[TAIL + 1];
};

static volatile sig_atomic_t stopping;
static long long mails, bytes;
static double first_at, last_at;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* The answer to one command line; whether the session goes on. */
static int command(struct session *it, const char *line, size_t length, char *out, size_t *filled)
{
    const char *answer = "250 2.0.0 Ok\r\n";
    int goes_on = 1;
    if (length >= 4 && strncasecmp(line, "EHLO", 4) == 0) {
        answer = "250-light-sink\r\n250-PIPELINING\r\n250-SIZE 0\r\n250-8BITMIME\r\n"
                 "250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n";
    } else if (length >= 4 && strncasecmp(line, "MAIL", 4) == 0) {
        if (first_at == 0)
            first_at = seconds();
        it->recipients = 0;
        answer = "250 2.1.0 Ok\r\n";
    } else if (length >= 4 && strncasecmp(line, "RCPT", 4) == 0) {
        it->recipients++;
        answer = "250 2.1.5 Ok\r\n";
    } else if (length >= 4 && strncasecmp(line, "DATA", 4) == 0) {
        if (it->recipients > 0) {
            it->in_body = 1;
            /* An empty body ends with a dot at once: the line break before it is the command's. */
            memcpy(it->end, "\r\n", 2);
            it->tail = 2;
            answer = "354 Go on\r\n";
        } else {
            answer = "503 5.5.1 RCPT first\r\n";
        }
    } else if (length >= 4 && strncasecmp(line, "QUIT", 4) == 0) {
        answer = "221 2.0.0 Bye\r\n";
        goes_on = 0;
    }
    size_t size = strlen(answer);
    if (*filled + size > ANSWERS)
        return 0;
    memcpy(out + *filled, answer, size);
    *filled += size;
    return goes_on;
}

/* Takes what belongs to the body; how many bytes these were. */
static size_t body(struct session *it, const char *data, size_t size, char *out, size_t *filled)
{
    static const char final[] = "\r\n.\r\n";
    size_t taken = size, end = 0;
    /* The seam: the last bytes from before, and the first of these. */
    char seam[2 * TAIL];
    size_t begin = size < TAIL ? size : TAIL;
    memcpy(seam, it->end, it->tail);
    memcpy(seam + it->tail, data, begin);
    const char *found = memmem(seam, it->tail + begin, final, 5);
    if (found) {
        taken = (size_t)(found - seam) + 5 - it->tail;
        end = 1;
    } else if ((found = memmem(data, size, final, 5)) != NULL) {
        taken = (size_t)(found - data) + 5;
        end = 1;
    }
    bytes += (long long)taken;
    if (!end) {
        if (size >= TAIL) {
            memcpy(it->end, data + size - TAIL, TAIL);
            it->tail = TAIL;
        } else {
            size_t kept = it->tail + size > TAIL ? TAIL - size : it->tail;
            memmove(it->end, it->end + it->tail - kept, kept);
            memcpy(it->end + kept, data, size);
            it->tail = kept + size;
        }
        return taken;
    }
    static const char answer[] = "250 2.0.0 Ok: taken\r\n";
    bytes -= 3; /* .CRLF */
    mails++;
    last_at = seconds();
    it->in_body = 0;
    it->recipients = 0;
    memcpy(out + *filled, answer, sizeof answer - 1);
    *filled += sizeof answer - 1;
    return taken;
}

/* Everything that came in one read; whether the session goes on. */
static int take(struct session *it, const char *data, size_t size)
{
    static char out[ANSWERS];
    size_t filled = 0;
    int goes_on = 1;
    while (size > 0 && goes_on) {
        if (filled > ANSWERS - 256)
            return 0; /* nobody pipelines that much in good faith */
        if (it->in_body) {
            size_t taken = body(it, data, size, out, &filled);
            data += taken;
            size -= taken;
            continue;
        }
        const char *end = memchr(data, '\n', size);
        size_t length = end ? (size_t)(end - data) + 1 : size;
        if (it->held + length > LINE)
            return 0;
        memcpy(it->line + it->held, data, length);
        it->held += length;
        data += length;
        size -= length;
        if (end) {
            goes_on = command(it, it->line, it->held, out, &filled);
            it->held = 0;
        }
    }
    /* The socket blocks: answers are a few bytes, and the other side reads them. */
    for (size_t sent = 0; sent < filled;) {
        ssize_t count = send(it->socket, out + sent, filled - sent, MSG_NOSIGNAL);
        if (count <= 0)
            return 0;
        sent += (size_t)count;
    }
    return goes_on;
}

static void greet(int poll, int listener)
{
    int on = 1;
    int socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (socket < 0)
        return;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct session *it = calloc(1, sizeof *it);
    if (!it)
        fail("calloc");
    it->socket = socket;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = it};
    static const char hello[] = "220 light-sink ESMTP\r\n";
    if (epoll_ctl(poll, EPOLL_CTL_ADD, socket, &event) < 0
        || send(socket, hello, sizeof hello - 1, MSG_NOSIGNAL) < 0) {
        close(socket);
        free(it);
    }
}

int main(void)
{
    static char data[CHUNK];
    struct sigaction ending = {.sa_handler = stop};
    sigaction(SIGTERM, &ending, NULL);
    sigaction(SIGINT, &ending, NULL);
    /* They come while it waits and at no other moment, so that none is missed. */
    sigset_t while_working, while_waiting;
    sigemptyset(&while_working);
    sigaddset(&while_working, SIGTERM);
    sigaddset(&while_working, SIGINT);
    sigprocmask(SIG_BLOCK, &while_working, &while_waiting);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof place;
    if (listener < 0 || bind(listener, (struct sockaddr *)&place, size) < 0
        || listen(listener, 256) < 0 || getsockname(listener, (struct sockaddr *)&place, &size) < 0)
        fail("listen");
    int poll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event) < 0)
        fail("epoll");
    printf("%d\n", ntohs(place.sin_port));
    fflush(stdout);

    struct epoll_event events[EVENTS];
    while (!stopping) {
        int count = epoll_pwait(poll, events, EVENTS, -1, &while_waiting);
        if (count < 0 && errno != EINTR)
            fail("epoll_pwait");
        for (int each = 0; each < count; each++) {
            struct session *it = events[each].data.ptr;
            if (!it) {
                greet(poll, listener);
                continue;
            }
            ssize_t got = recv(it->socket, data, sizeof data, 0);
            if (got > 0 && take(it, data, (size_t)got))
                continue;
            close(it->socket);
            free(it);
        }
    }
    printf("{\"mails\": %lld, \"bytes\": %lld, \"seconds\": %.6f}\n", mails, bytes,
           mails ? last_at - first_at : 0.0);
    return 0;
}

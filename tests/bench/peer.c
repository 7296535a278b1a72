/* The other end of every wire figure: FIX client, and the venue's side of the order entry, in one spinning process.
 *
 *   peer MODE COUNT WINDOW SEQ FIRST FIX_FD VENUE_FD SENDER TARGET ACCOUNT SYMBOL QUANTITY PRICE LABEL
 *
 * echo     WINDOW messages of FIRST bytes (0: ECHO_BYTES) in flight to a server that sends each back
 * rested   the same, a pause before each batch, in which the server falls asleep: the floor of `apart`
 * reject   WINDOW orders in flight, each answered by an ExecutionReport(8) of ExecType Rejected
 * accept   the same, each order going on to the venue, which answers with its reply and its notification
 * apart    as accept, the notification only after the report, and a pause behind it: what a venue's distance gives
 * clear    the venue cancels the orders FIRST to FIRST + COUNT - 1 that rest, LABEL their labels' common part
 *
 * The sockets are handed over connected and past every handshake; SEQ is the MsgSeqNum(34) of the first order.
 * Prints one JSON object: durations in ns from just before an order's write to the end of its report's read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOH 1
#define BUFFER (1 << 20)
#define ECHO_BYTES 180
#define MAX_WINDOW 1024
#define PATIENCE_NS 10000000000LL
#define CLEAR_WINDOW 64
#define PAUSE_NS 100000

typedef long long i64;

typedef struct {
    char data[BUFFER];
    size_t used;
} Buffer;

static Buffer fix_in, venue_in, fix_out, venue_out, later;
static int is_apart;
static const char *sender, *target, *account, *symbol, *quantity, *price, *label_prefix;
static i64 *sent_ns, *took_ns;
static i64 limit, sent, done, rejected, accepted, cancelled, unexpected;
static char last_label[80];

static void fail(const char *text) {
    fprintf(stderr, "peer: %s (sent %lld, done %lld, errno %d)\n", text, sent, done, errno);
    exit(3);
}

static i64 clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static i64 steady_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void flush(int fd, Buffer *out) {
    size_t at = 0;
    while (at < out->used) {
        ssize_t n = send(fd, out->data + at, out->used - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) fail("the gateway closed the connection");
        if (n > 0) at += (size_t)n;
    }
    out->used = 0;
}

/* Read what is there, without waiting; 0 where there is nothing. */
static size_t take(int fd, Buffer *in) {
    if (in->used == BUFFER) fail("input buffer is full");
    ssize_t n = recv(fd, in->data + in->used, BUFFER - in->used, MSG_DONTWAIT);
    if (n == 0) fail("the gateway closed the connection");
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) return 0;
        fail("read");
    }
    in->used += (size_t)n;
    return (size_t)n;
}

static void drop(Buffer *in, size_t used) {
    memmove(in->data, in->data + used, in->used - used);
    in->used -= used;
}

static char *put(char *at, const char *text) {
    size_t n = strlen(text);
    memcpy(at, text, n);
    return at + n;
}

static char *put_number(char *at, i64 value) {
    char digits[24];
    int n = 0;
    do digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n) *at++ = digits[--n];
    return at;
}

/* UTCTimestamp with milliseconds; the second's text is kept. */
static char *put_time(char *at) {
    static time_t second = -1;
    static char text[32];
    i64 now = clock_ns(CLOCK_REALTIME);
    if (now / 1000000000 != second) {
        struct tm parts;
        second = now / 1000000000;
        gmtime_r(&second, &parts);
        strftime(text, sizeof text, "%Y%m%d-%H:%M:%S.", &parts);
    }
    memcpy(at, text, 18);
    int ms = (int)(now / 1000000 % 1000);
    at[18] = (char)('0' + ms / 100);
    at[19] = (char)('0' + ms / 10 % 10);
    at[20] = (char)('0' + ms % 10);
    return at + 21;
}

/* NewOrderSingle(D), some 200 bytes. */
static void put_order(Buffer *out, i64 seq) {
    char body[512], *at = body, *begin = out->data + out->used, *end;
    at = put_number(put(at, "35=D\00134="), seq);
    at = put(put(at, "\00149="), sender);
    at = put_time(put(at, "\00152="));
    at = put(put(at, "\00156="), target);
    at = put(put(at, "\0011="), account);
    at = put_number(put(at, "\00111=ORD-"), 1000000000000LL + seq);
    at = put(put(at, "\00138="), quantity);
    at = put(put(at, "\00140=2\00144="), price);
    at = put(put(at, "\00154=1\00155="), symbol);
    at = put_time(put(at, "\00159=1\00160="));
    *at++ = SOH;
    end = put_number(put(begin, "8=FIX.4.4\0019="), at - body);
    *end++ = SOH;
    memcpy(end, body, (size_t)(at - body));
    end += at - body;
    unsigned sum = 0;
    for (char *p = begin; p < end; p++) sum += (unsigned char)*p;
    sum &= 255;
    end = put(end, "10=");
    *end++ = (char)('0' + sum / 100);
    *end++ = (char)('0' + sum / 10 % 10);
    *end++ = (char)('0' + sum % 10);
    *end++ = SOH;
    out->used = (size_t)(end - out->data);
}

/* Count the reports in what came from the gateway. */
static void take_reports(void) {
    size_t at = 0;
    i64 now = steady_ns();
    while (fix_in.used - at > 20) {
        char *begin = fix_in.data + at;
        char *length_end = memchr(begin + 12, SOH, 8);
        if (!length_end) fail("not FIX");
        size_t total = (size_t)(length_end + 1 - begin) + (size_t)atoi(begin + 12) + 7;
        if (fix_in.used - at < total) break;
        char *exec_type = memmem(begin, total, "\001150=", 5);
        if (length_end[4] != '8' || !exec_type) {
            /* A Heartbeat is nobody's answer, nor is the News(B) that a venue takes orders. */
            if (length_end[4] != '0' && length_end[4] != 'B') unexpected++;
        } else {
            char kind = exec_type[5];
            if (kind == '8') rejected++;
            else if (kind == '0') accepted++;
            else if (kind == '4') cancelled++;
            else unexpected++;
            if (done == limit) fail("more reports than orders");
            if (sent_ns) took_ns[done] = now - sent_ns[done];
            done++;
        }
        at += total;
    }
    if (at) drop(&fix_in, at);
}

/* A server's text frame: never masked. */
static void put_frame(Buffer *out, const char *text, size_t n) {
    char *at = out->data + out->used;
    if (out->used + n + 8 > BUFFER) fail("output buffer is full");
    *at++ = (char)0x81;
    if (n < 126) {
        *at++ = (char)n;
    } else {
        *at++ = 126;
        *at++ = (char)(n >> 8);
        *at++ = (char)n;
    }
    memcpy(at, text, n);
    out->used = (size_t)(at - out->data) + n;
}

/* An order as the venue shows it, with the fields of its recorded frames. Put together by copying: at the rates that are
 * measured, a formatted print of it would cost more of a round than the gateway's own reading. */
static char *put_venue_order(char *at, const char *label, i64 now_ms, const char *state) {
    at = put(at, "{\"web\":false,\"time_in_force\":\"good_til_cancelled\",\"risk_reducing\":false,\"replaced\":false,"
                 "\"reject_post_only\":false,\"reduce_only\":false,\"price\":");
    at = put(put(at, price), ",\"post_only\":false,\"order_type\":\"limit\",\"order_state\":\"");
    at = put(put(put(put(at, state), "\",\"order_id\":\"B-"), label), "\",\"mmp\":false,\"max_show\":");
    at = put_number(put(put(at, quantity), ".0,\"last_update_timestamp\":"), now_ms);
    at = put(put(put(at, ",\"label\":\""), label), "\",\"is_liquidation\":false,\"instrument_name\":\"");
    at = put(put(at, symbol), "\",\"filled_amount\":0.0,\"direction\":\"buy\",\"creation_timestamp\":");
    at = put(put_number(at, now_ms), ",\"contracts\":1.0,\"average_price\":0.0,\"api\":true,\"amount\":");
    return put(put(at, quantity), ".0}");
}

static void notify(Buffer *out, const char *order, size_t n) {
    char text[2048], *at = text;
    at = put(at, "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"user.changes.any.any.raw\","
                 "\"data\":{\"instrument_name\":\"");
    at = put(put(at, symbol), "\",\"trades\":[],\"positions\":[],\"orders\":[");
    memcpy(at, order, n);
    at = put(at + n, "]}}}");
    put_frame(out, text, (size_t)(at - text));
}

/* Whatever else the gateway asks meanwhile, as to subscribe to a book, is answered with the channels that it named. */
static void answer_other(const char *request, size_t size, i64 id) {
    char text[2048], *at = put_number(put(text, "{\"jsonrpc\":\"2.0\",\"id\":"), id);
    const char *channels = memmem(request, size, "\"channels\":", 11);
    const char *end = channels ? memchr(channels, ']', (size_t)(request + size - channels)) : NULL;
    at = put(at, ",\"result\":");
    if (end && end - channels < 1024) {
        size_t n = (size_t)(end + 1 - (channels + 11));
        memcpy(at, channels + 11, n);
        at += n;
    } else at = put(at, "[]");
    at = put(at, ",\"usIn\":1,\"usOut\":2,\"usDiff\":1,\"testnet\":false}");
    put_frame(&venue_out, text, (size_t)(at - text));
}

/* Answer one private/buy: reply first, then the notification; in one write, unless they are to be apart. */
static void answer(char *request, size_t size) {
    char order[1024], text[2048], *at = text;
    char *id = memmem(request, size, "\"id\":", 5), *label = memmem(request, size, "\"label\":\"", 9);
    if (!id) fail("not a request");
    if (!label || !memmem(request, size, "\"private/buy\"", 13)) {
        answer_other(request, size, atoll(id + 5));
        return;
    }
    label += 9;
    char *end = memchr(label, '"', (size_t)(request + size - label));
    if (!end || end - label >= (long)sizeof last_label) fail("no label");
    memcpy(last_label, label, (size_t)(end - label));
    last_label[end - label] = 0;
    i64 now_us = clock_ns(CLOCK_REALTIME) / 1000;
    size_t n = (size_t)(put_venue_order(order, last_label, now_us / 1000, "open") - order);
    at = put_number(put(at, "{\"jsonrpc\":\"2.0\",\"id\":"), atoll(id + 5));
    at = put(at, ",\"result\":{\"trades\":[],\"order\":");
    memcpy(at, order, n);
    at = put_number(put(at + n, "},\"usIn\":"), now_us - 1);
    at = put(put_number(put(at, ",\"usOut\":"), now_us), ",\"usDiff\":1,\"testnet\":false}");
    put_frame(&venue_out, text, (size_t)(at - text));
    notify(is_apart ? &later : &venue_out, order, n);
}

static void take_requests(void) {
    size_t at = 0;
    while (venue_in.used - at >= 8) {
        unsigned char *frame = (unsigned char *)venue_in.data + at;
        size_t size = frame[1] & 127, head = 2;
        if (frame[0] != 0x81 || !(frame[1] & 128) || size == 127) fail("not a short masked text frame");
        if (size == 126) {
            size = (size_t)frame[2] << 8 | frame[3];
            head = 4;
        }
        if (venue_in.used - at < head + 4 + size) break;
        unsigned char *key = frame + head, *payload = key + 4;
        for (size_t i = 0; i < size; i++) payload[i] ^= key[i & 3];
        answer((char *)payload, size);
        at += head + 4 + size;
    }
    if (at) drop(&venue_in, at);
}

static void rest(void) {
    for (i64 end = steady_ns() + PAUSE_NS; steady_ns() < end;) {}
}

static void run_orders(int fix, int venue, i64 count, i64 window, i64 seq) {
    i64 moved = steady_ns();
    while (done < count) {
        while (sent < count && sent - done < window) put_order(&fix_out, seq + sent++);
        if (fix_out.used) {
            i64 now = steady_ns();
            for (i64 i = sent - 1; i >= 0 && !sent_ns[i]; i--) sent_ns[i] = now;
            flush(fix, &fix_out);
            moved = now;
        }
        if (take(fix, &fix_in)) take_reports();
        if (later.used && done == sent) {
            flush(venue, &later);
            rest();
        }
        if (venue >= 0 && take(venue, &venue_in)) {
            take_requests();
            flush(venue, &venue_out);
        }
        if (sent - done >= window || sent == count)
            if (steady_ns() - moved > PATIENCE_NS) fail("no answer in time");
    }
}

static void run_echo(int fd, i64 count, i64 window, size_t bytes, int is_rested) {
    if ((size_t)window * bytes > BUFFER) fail("a window larger than the buffer");
    while (done < count) {
        if (is_rested && sent == done) rest();
        while (sent < count && sent - done < window) {
            memset(fix_out.data + fix_out.used, 'x', bytes);
            fix_out.used += bytes;
            sent++;
        }
        if (fix_out.used) {
            i64 now = steady_ns();
            for (i64 i = sent - 1; i >= 0 && !sent_ns[i]; i--) sent_ns[i] = now;
            flush(fd, &fix_out);
        }
        if (!take(fd, &fix_in)) continue;
        i64 now = steady_ns();
        size_t at = 0;
        for (; fix_in.used - at >= bytes; at += bytes) {
            took_ns[done] = now - sent_ns[done];
            done++;
        }
        drop(&fix_in, at);
    }
}

static void run_clear(int fix, int venue, i64 count, i64 first) {
    char order[1024], label[96];
    i64 moved = steady_ns();
    while (done < count) {
        for (; sent < count && sent - done < CLEAR_WINDOW; sent++) {
            snprintf(label, sizeof label, "%s%lld", label_prefix, first + sent);
            char *end = put_venue_order(order, label, clock_ns(CLOCK_REALTIME) / 1000000, "cancelled");
            notify(&venue_out, order, (size_t)(end - order));
        }
        if (venue_out.used) {
            flush(venue, &venue_out);
            moved = steady_ns();
        }
        if (take(fix, &fix_in)) take_reports();
        if (steady_ns() - moved > PATIENCE_NS) fail("no answer in time");
    }
}

static int by_value(const void *a, const void *b) {
    i64 x = *(const i64 *)a, y = *(const i64 *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 15) {
        fprintf(stderr, "usage: peer MODE COUNT WINDOW SEQ FIRST FIX_FD VENUE_FD SENDER TARGET ACCOUNT SYMBOL QUANTITY "
                        "PRICE LABEL\n");
        return 2;
    }
    const char *mode = argv[1];
    i64 count = atoll(argv[2]), window = atoll(argv[3]), seq = atoll(argv[4]), first = atoll(argv[5]);
    int fix = atoi(argv[6]), venue = atoi(argv[7]);
    sender = argv[8], target = argv[9], account = argv[10], symbol = argv[11], quantity = argv[12], price = argv[13];
    label_prefix = argv[14];
    is_apart = !strcmp(mode, "apart");
    if (count < 1 || window < 1 || window > MAX_WINDOW) return 2;
    limit = count;
    took_ns = calloc((size_t)count, sizeof *took_ns);
    if (strcmp(mode, "clear")) sent_ns = calloc((size_t)count, sizeof *sent_ns);
    if (!took_ns) return 2;
    i64 began = steady_ns();
    if (!strcmp(mode, "echo") || !strcmp(mode, "rested")) 
        run_echo(fix, count, window, first > 0 ? (size_t)first : ECHO_BYTES, mode[0] == 'r');
    else if (!strcmp(mode, "clear")) run_clear(fix, venue, count, first);
    else run_orders(fix, strcmp(mode, "reject") ? venue : -1, count, window, seq);
    i64 elapsed = steady_ns() - began;
    qsort(took_ns, (size_t)count, sizeof *took_ns, by_value);
    printf("{\"count\":%lld,\"elapsed_ns\":%lld,\"p50_ns\":%lld,\"p99_ns\":%lld,\"p999_ns\":%lld,\"rejected\":%lld,"
           "\"accepted\":%lld,\"cancelled\":%lld,\"unexpected\":%lld,\"last_label\":\"%s\"}\n",
           count, elapsed, took_ns[count / 2], took_ns[count * 99 / 100], took_ns[count * 999 / 1000], rejected,
           accepted, cancelled, unexpected, last_label);
    return 0;
}

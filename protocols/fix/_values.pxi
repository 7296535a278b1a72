# Numbers and times of _codec.pyx. See values.py.

cdef inline bint is_digit(byte c) noexcept nogil:
    return c >= 48 and c <= 57


cdef long long number(const byte *s, Py_ssize_t n) noexcept nogil:
    """Return strict digits as a number, -1 for anything else or more than 18 of them."""
    cdef long long value = 0
    cdef Py_ssize_t i
    if n < 1 or n > 18:
        return -1
    for i in range(n):
        if not is_digit(s[i]):
            return -1
        value = value * 10 + (s[i] - 48)
    return value


cdef inline int two(const byte *s) noexcept nogil:
    if is_digit(s[0]) and is_digit(s[1]):
        return (s[0] - 48) * 10 + s[1] - 48
    return -1


cdef inline int days_in(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month in (4, 6, 9, 11) else 31


cdef bint is_date(const byte *s) noexcept nogil:
    """FIX dates in general: month and day in range, whatever the month's length."""
    cdef int month = two(s + 4), day = two(s + 6)
    return two(s) >= 0 and two(s + 2) >= 0 and 1 <= month <= 12 and 1 <= day <= 31


# The seconds read last: a message has two times, and those of the next are mostly in the same seconds.
cdef enum:
    READ_SECONDS = 2
    SECOND_BYTES = 17

cdef byte read_text[READ_SECONDS][SECOND_BYTES]
cdef long long read_ns[READ_SECONDS]
cdef int read_next = 0
read_ns[0] = read_ns[1] = -1  # none yet


cdef long long parse_time(const byte *s, Py_ssize_t n) noexcept nogil:
    """Return nanoseconds since the epoch, -1 when it is no UTCTimestamp."""
    global read_next
    cdef long long whole_ns = -1, fraction = 0
    cdef Py_ssize_t i
    if n != 17 and n != 21 and n != 24 and n != 27:
        return -1
    for i in range(READ_SECONDS):
        if memcmp(s, read_text[i], SECOND_BYTES) == 0:
            whole_ns = read_ns[i]
            break
    if whole_ns < 0:
        whole_ns = parse_second(s)
        if whole_ns < 0:
            return -1
        memcpy(read_text[read_next], s, SECOND_BYTES)
        read_ns[read_next] = whole_ns
        read_next = (read_next + 1) % READ_SECONDS
    if n > 17:
        fraction = number(s + 18, n - 18)
        if s[17] != c"." or fraction < 0:
            return -1
        for i in range(27 - n):
            fraction *= 10
    return whole_ns + fraction


cdef long long parse_second(const byte *s) noexcept nogil:
    """Return nanoseconds since the epoch of a time to the second, -1 when it is none."""
    cdef int year, month, day, hour, minute, second, y, m
    cdef long long days
    if two(s) < 0 or two(s + 2) < 0 or s[8] != c"-" or s[11] != c":" or s[14] != c":":
        return -1
    year = two(s) * 100 + two(s + 2)
    month, day, hour, minute, second = two(s + 4), two(s + 6), two(s + 9), two(s + 12), two(s + 15)
    if year < 1970 or year > 2200 or month < 1 or month > 12 or day < 1 or day > days_in(year, month):
        return -1
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 60:
        return -1
    # Days since the epoch of a civil date, years beginning in March.
    y = year - 1 if month <= 2 else year
    m = month + 9 if month <= 2 else month - 3
    days = 365LL * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468
    return (days * 86400 + hour * 3600 + minute * 60 + second) * 1000000000LL


cdef long long cached_second = -1
cdef byte cached_text[17]


cdef inline void put_two(byte *p, int value) noexcept nogil:
    p[0] = 48 + value // 10
    p[1] = 48 + value % 10


cdef int put_time(byte *p, long long ns, int digits) noexcept nogil:
    """Write a UTCTimestamp, return its length. `ns` must not be negative."""
    global cached_second
    cdef long long second = ns // 1000000000
    cdef long long rest = ns % 1000000000
    cdef long long z, era, doe, yoe, doy, mp
    cdef int year, of_day, i
    if second != cached_second:
        z = second // 86400 + 719468
        of_day = <int>(second % 86400)
        era = z // 146097
        doe = z - era * 146097
        yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
        doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
        mp = (5 * doy + 2) // 153
        year = <int>(yoe + era * 400) + (1 if mp >= 10 else 0)
        put_two(cached_text, year // 100)
        put_two(cached_text + 2, year % 100)
        put_two(cached_text + 4, <int>(mp + 3 if mp < 10 else mp - 9))
        put_two(cached_text + 6, <int>(doy - (153 * mp + 2) // 5 + 1))
        cached_text[8] = c"-"
        put_two(cached_text + 9, of_day // 3600)
        cached_text[11] = c":"
        put_two(cached_text + 12, of_day // 60 % 60)
        cached_text[14] = c":"
        put_two(cached_text + 15, of_day % 60)
        cached_second = second
    memcpy(p, cached_text, 17)
    if digits == 0:
        return 17
    p[17] = c"."
    for i in range(9 - digits):
        rest //= 10
    for i in range(digits):
        p[17 + digits - i] = 48 + <byte>(rest % 10)
        rest //= 10
    return 18 + digits


cdef int put_number(byte *p, long long value) noexcept nogil:
    """Write a decimal integer, return its length."""
    cdef byte reversed_digits[20]
    cdef int n = 0, length = 0
    cdef unsigned long long rest
    if value < 0:
        p[0] = c"-"
        length = 1
        rest = <unsigned long long>(-(value + 1)) + 1
    else:
        rest = <unsigned long long>value
    while True:
        reversed_digits[n] = 48 + <byte>(rest % 10)
        rest //= 10
        n += 1
        if rest == 0:
            break
    while n > 0:
        n -= 1
        p[length] = reversed_digits[n]
        length += 1
    return length


cdef bint cut_decimal(const byte *s, Py_ssize_t n, long long *mantissa, int *exponent) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef bint negative = False, digits = False, point = False
    cdef int significant = 0, places_seen = 0
    cdef long long value = 0
    if n < 1 or n > 32:
        return False
    if s[0] == c"-":
        negative = True
        i = 1
    while i < n:
        if is_digit(s[i]):
            digits = True
            if significant > 0 or s[i] != c"0":
                significant += 1
                if significant > 18:
                    return False
            value = value * 10 + (s[i] - 48)
            places_seen += point
        elif s[i] == c"." and not point:
            point = True
        else:
            return False
        i += 1
    mantissa[0] = -value if negative else value
    exponent[0] = -places_seen
    return digits


def parse_decimal(bytes text not None):
    """Return (mantissa, exponent) of a strict FIX float, or None."""
    cdef long long mantissa
    cdef int exponent
    if cut_decimal(<const byte *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), &mantissa, &exponent):
        return mantissa, exponent
    return None


cdef long long whole_steps(const byte *s, Py_ssize_t n, long long step_mantissa, int step_exponent) noexcept:
    """Return how many steps a strict FIX float is, 0 where it is no positive whole number, -1 where 64 bits are few."""
    cdef long long mantissa, step = step_mantissa
    cdef int exponent, shift
    if not cut_decimal(s, n, &mantissa, &exponent):
        return 0
    shift = exponent - step_exponent
    if mantissa <= 0 or step <= 0:
        return 0
    while shift > 0:
        if mantissa > 100000000000000000:
            return -1
        mantissa *= 10
        shift -= 1
    while shift < 0:
        if step > 100000000000000000:
            return -1
        step *= 10
        shift += 1
    return mantissa // step if mantissa % step == 0 else 0


def count_steps(bytes text not None, long long step_mantissa, int step_exponent):
    """Return how many steps a strict FIX float is, 0 where it is no positive whole number of them."""
    cdef const byte *s = <const byte *>PyBytes_AS_STRING(text)
    cdef long long count = whole_steps(s, PyBytes_GET_SIZE(text), step_mantissa, step_exponent)
    return count if count >= 0 else plain_values.count_steps(text, step_mantissa, step_exponent)


cdef int put_decimal(byte *out, long long mantissa, int exponent) noexcept:
    """Write `mantissa * 10**exponent` as FIX writes it, return its length; 0 where that is left to the plain twin."""
    cdef byte text[24]
    cdef int length, at = 0, whole, i
    if mantissa <= -1000000000000000000 or mantissa >= 1000000000000000000:
        return 0
    if exponent > 0:  # lots of 10 and the like
        if exponent > 8 or mantissa <= -1000000000 or mantissa >= 1000000000:
            return 0
        for i in range(exponent):
            mantissa *= 10
        return put_number(out, mantissa)
    if exponent < -30:
        return 0
    if mantissa < 0:
        out[0] = c"-"
        at = 1
        mantissa = -mantissa
    length = put_number(text, mantissa)
    whole = length + exponent
    if whole <= 0:
        out[at] = c"0"
        at += 1
    for i in range(whole):
        out[at] = text[i]
        at += 1
    if exponent < 0:
        out[at] = c"."
        at += 1
        for i in range(-whole):
            out[at] = c"0"
            at += 1
        for i in range(whole if whole > 0 else 0, length):
            out[at] = text[i]
            at += 1
    return at


def format_decimal(mantissa, int exponent):
    """Return `mantissa * 10**exponent` as FIX writes it."""
    cdef byte out[64]
    cdef int length = 0
    if -1000000000000000000 < mantissa < 1000000000000000000:
        length = put_decimal(out, mantissa, exponent)
    return PyBytes_FromStringAndSize(<char *>out, length) if length else plain_values.format_decimal(mantissa, exponent)


cdef int put_hundredths(byte *out, double value) noexcept:
    """Write a float rounded to two places, return its length; 0 where that is left to the plain twin."""
    cdef long long cents
    cdef int length, at = 0
    if not -1e15 < value < 1e15:
        return 0
    cents = <long long>rint(value * 100.0)
    if cents < 0:
        out[0] = c"-"
        at = 1
        cents = -cents
    length = put_number(out + at, cents // 100) + at
    out[length] = c"."
    put_two(out + length + 1, cents % 100)
    return length + 3


def format_hundredths(double value):
    """Return a float rounded to two places, as FIX writes it."""
    cdef byte out[32]
    cdef int length = put_hundredths(out, value)
    return PyBytes_FromStringAndSize(<char *>out, length) if length else plain_values.format_hundredths(value)


def parse_timestamp(bytes text not None):
    """Return nanoseconds since the epoch, None when it is no UTCTimestamp."""
    cdef long long ns = parse_time(<const byte *>PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    return None if ns < 0 else ns


def format_timestamp(long long time_ns, int digits=3):
    """Return UTCTimestamp of nanoseconds since the epoch; `digits` of a second: 0, 3, 6 or 9."""
    cdef byte text[32]
    if time_ns < 0 or digits not in (0, 3, 6, 9):
        return plain_values.format_timestamp(time_ns, digits)
    return PyBytes_FromStringAndSize(<char *>text, put_time(text, time_ns, digits))

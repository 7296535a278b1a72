# An order where it stands in its frame's text, read by what the ordinary case needs and no more; no object is made.
#
# What is read here is JSON as its grammar has it, compact, ASCII, without a backslash; in objects that are read, each
# name once. Whatever else a frame holds (white space, an exponent, a field that only some orders have) is no error: the
# frame is then for the decoder, which knows what to say of it. A frame's bytes end in NUL, so one byte may be looked at ahead.

ctypedef const unsigned char *Text

cdef enum:
    MOST_DEPTH = 8  # of values that are passed over
    MOST_DIGITS = 15  # what a double holds exactly
    NUMBERS_KEPT = 256
    MOST_REMEMBERED = 1024

cdef enum Seen:
    SEEN_ORDER_ID = 1
    SEEN_STATE = 2
    SEEN_SYMBOL = 4
    SEEN_DIRECTION = 8
    SEEN_AMOUNT = 16
    SEEN_FILLED = 32
    SEEN_PRICE = 64
    SEEN_UPDATED = 128
    SEEN_LABEL = 256
    ALL_SEEN = 511
    SEEN_REPLACED = 512
    SEEN_REDUCE_ONLY = 1024

cdef struct Piece:
    Text start
    Py_ssize_t size

# digits / 10 ** decimals, of at most 15 digits: the double nearest to the text is one division away.
cdef struct Number:
    long long digits
    int decimals

# An order that is open, with nothing of it filled, at a price of its own.
cdef struct RestingOrder:
    Piece order_id
    Piece symbol
    Piece label
    Number amount
    Number price
    long long updated_ms
    bint is_buy
    bint is_replaced
    int seen


cdef bint is_plain_text(Text s, Py_ssize_t n) noexcept nogil:
    """Whether a frame is printable ASCII without a backslash: then a quote ends a string, and nothing stands for another."""
    cdef unsigned char other = 0
    cdef Py_ssize_t i
    for i in range(n):
        other |= (<unsigned char>(s[i] - 32) > 94) | (s[i] == c"\\")
    return not other


cdef inline Text after_string(Text s, Text end) noexcept nogil:
    """Return what follows a string whose opening quote `s` is at; NULL where there is none."""
    cdef Text quote
    if s[0] != c'"':
        return NULL
    quote = <Text>memchr(s + 1, c'"', end - s - 1)
    return NULL if quote == NULL else quote + 1


cdef Text after_digits(Text s) noexcept nogil:
    while c"0" <= s[0] <= c"9":
        s += 1
    return s


cdef Text after_number(Text s) noexcept nogil:
    cdef Text start
    if s[0] == c"-":
        s += 1
    start, s = s, after_digits(s)
    if s == start or (start[0] == c"0" and s - start > 1):
        return NULL
    if s[0] == c".":
        start, s = s + 1, after_digits(s + 1)
        if s == start:
            return NULL
    if s[0] == c"e" or s[0] == c"E":
        start = s + 2 if s[1] == c"+" or s[1] == c"-" else s + 1
        s = after_digits(start)
        if s == start:
            return NULL
    return s


cdef Text after_members(Text s, Text end, int depth) noexcept nogil:
    """Pass over the array or object that begins at `s`."""
    cdef bint is_object = s[0] == c"{"
    cdef unsigned char close = c"}" if is_object else c"]"
    s += 1
    if s[0] == close:
        return s + 1
    while True:
        if is_object:
            s = after_string(s, end)
            if s == NULL or s[0] != c":":
                return NULL
            s += 1
        s = after_value(s, end, depth)
        if s == NULL:
            return NULL
        if s[0] == close:
            return s + 1
        if s[0] != c",":
            return NULL
        s += 1


cdef Text after_value(Text s, Text end, int depth) noexcept nogil:
    """Return what follows the value at `s`; NULL where it is none, or one that lies too deep."""
    if s[0] == c'"':
        return after_string(s, end)
    if s[0] == c"t":
        return s + 4 if end - s >= 4 and not memcmp(s, b"true", 4) else NULL
    if s[0] == c"f":
        return s + 5 if end - s >= 5 and not memcmp(s, b"false", 5) else NULL
    if s[0] == c"n":
        return s + 4 if end - s >= 4 and not memcmp(s, b"null", 4) else NULL
    if s[0] == c"{" or s[0] == c"[":
        return after_members(s, end, depth + 1) if depth < MOST_DEPTH else NULL
    return after_number(s)


cdef inline Text after_name(Text s, Text end, Piece *name) noexcept nogil:
    """Read a member's name; return where its value begins."""
    cdef Text after = after_string(s, end)
    if after == NULL or after[0] != c":":
        return NULL
    name.start, name.size = s + 1, after - s - 2
    return after + 1


cdef inline bint is_name(const Piece *piece, const char *name, Py_ssize_t size) noexcept nogil:
    return piece.size == size and not memcmp(piece.start, name, size)


cdef inline Text after_text(Text s, Text end, Piece *piece) noexcept nogil:
    cdef Text after = after_string(s, end)
    if after != NULL:
        piece.start, piece.size = s + 1, after - s - 2
    return after


cdef inline Text after_amount(Text s, Number *number) noexcept nogil:
    """Read a number without sign and exponent of at most 15 digits."""
    cdef Text start = s
    cdef long long digits = 0
    cdef Py_ssize_t whole
    while c"0" <= s[0] <= c"9":
        digits = digits * 10 + (s[0] - c"0")
        s += 1
        if s - start > MOST_DIGITS:
            return NULL
    whole = s - start
    if whole == 0 or (start[0] == c"0" and whole > 1):
        return NULL
    number.decimals = 0
    if s[0] == c".":
        start = s + 1
        s = start
        while c"0" <= s[0] <= c"9":
            digits = digits * 10 + (s[0] - c"0")
            s += 1
            if whole + (s - start) > MOST_DIGITS:
                return NULL
        if s == start:
            return NULL
        number.decimals = <int>(s - start)
    number.digits = digits
    return s


cdef inline Text after_flag(Text s, Text end, bint *flag) noexcept nogil:
    flag[0] = s[0] == c"t"
    return after_value(s, end, 0) if s[0] == c"t" or s[0] == c"f" else NULL


cdef Text after_field(Text s, Text end, const Piece *name, RestingOrder *order) noexcept nogil:
    """Read one field of an order; NULL where it is not an ordinary resting order's."""
    cdef int seen = 0
    cdef bint ignored = False
    cdef Number number
    cdef Piece text
    if name.size == 5:
        if is_name(name, "label", 5):
            seen, s = SEEN_LABEL, after_text(s, end, &order.label)
        elif is_name(name, "price", 5):
            seen, s = SEEN_PRICE, after_amount(s, &order.price)
    elif name.size == 6 and is_name(name, "amount", 6):
        seen, s = SEEN_AMOUNT, after_amount(s, &order.amount)
    elif name.size == 8:
        if is_name(name, "order_id", 8):
            seen, s = SEEN_ORDER_ID, after_text(s, end, &order.order_id)
        elif is_name(name, "replaced", 8):
            seen, s = SEEN_REPLACED, after_flag(s, end, &order.is_replaced)
    elif name.size == 9 and is_name(name, "direction", 9):
        seen, s = SEEN_DIRECTION, after_text(s, end, &text)
        if s != NULL:
            order.is_buy = is_name(&text, "buy", 3)
            if not order.is_buy and not is_name(&text, "sell", 4):
                return NULL
    elif name.size == 11:
        if is_name(name, "order_state", 11):
            seen, s = SEEN_STATE, after_text(s, end, &text)
            if s != NULL and not is_name(&text, "open", 4):
                return NULL
        elif is_name(name, "reduce_only", 11):
            seen, s = SEEN_REDUCE_ONLY, after_flag(s, end, &ignored)
    elif name.size == 13:
        if is_name(name, "filled_amount", 13):
            seen, s = SEEN_FILLED, after_amount(s, &number)
            if s != NULL and number.digits:
                return NULL
        elif is_name(name, "cancel_reason", 13) or is_name(name, "trigger_price", 13):
            return NULL
    elif name.size == 15 and is_name(name, "instrument_name", 15):
        seen, s = SEEN_SYMBOL, after_text(s, end, &order.symbol)
    elif name.size == 16 and is_name(name, "trigger_order_id", 16):
        return NULL
    elif name.size == 21 and is_name(name, "last_update_timestamp", 21):
        seen, s = SEEN_UPDATED, after_amount(s, &number)
        if s == NULL or number.decimals:
            return NULL
        order.updated_ms = number.digits
    if not seen:
        return after_value(s, end, 0)
    if s == NULL or order.seen & seen:
        return NULL
    order.seen |= seen
    return s


# The text of the order that was read last, and what was read: a venue mostly writes it once more, in the notification.
cdef unsigned char remembered[MOST_REMEMBERED]
cdef Py_ssize_t remembered_size = 0
cdef RestingOrder remembered_order


cdef Text after_order(Text s, Text end, RestingOrder *order) noexcept nogil:
    """Read an order that rests; NULL for any other. Its pieces are good until the next is read."""
    global remembered_size, remembered_order
    cdef Text after
    if 0 < remembered_size <= end - s and not memcmp(s, remembered, remembered_size):
        order[0] = remembered_order  # a text that begins with a whole object begins with no other
        return s + remembered_size
    after = after_fields(s, end, order)
    if after == NULL or after - s > MOST_REMEMBERED:
        return after
    remembered_size = after - s
    memcpy(remembered, s, remembered_size)
    order.order_id.start = remembered + (order.order_id.start - s)
    order.symbol.start = remembered + (order.symbol.start - s)
    order.label.start = remembered + (order.label.start - s)
    remembered_order = order[0]
    return after


cdef Text after_fields(Text s, Text end, RestingOrder *order) noexcept nogil:
    """Read an order's object from its brace on."""
    cdef Piece name
    order.seen, order.is_replaced = 0, False
    if s[0] != c"{":
        return NULL
    while True:
        s = after_name(s + 1, end, &name)
        if s == NULL:
            return NULL
        s = after_field(s, end, &name, order)
        if s == NULL:
            return NULL
        if s[0] != c",":
            break
    return s + 1 if s[0] == c"}" and order.seen & ALL_SEEN == ALL_SEEN else NULL


cdef inline Text after_nothing(Text s) noexcept nogil:
    """Pass over an empty array."""
    return s + 2 if s[0] == c"[" and s[1] == c"]" else NULL


cdef Text after_result(Text s, Text end, RestingOrder *order) noexcept nogil:
    """Read what a reply says: one resting order, no trades."""
    cdef Piece name
    cdef int seen = 0
    if s[0] != c"{":
        return NULL
    while True:
        s = after_name(s + 1, end, &name)
        if s == NULL:
            return NULL
        if is_name(&name, "order", 5):
            seen += 1
            s = after_order(s, end, order)
        elif is_name(&name, "trades", 6):
            seen += 16
            s = after_nothing(s)
        else:
            s = after_value(s, end, 0)
        if s == NULL:
            return NULL
        if s[0] != c",":
            break
    return s + 1 if s[0] == c"}" and seen == 17 else NULL


cdef bint is_reply(Text s, Text end, RestingOrder *order) noexcept nogil:
    """Read the rest of a reply from behind its id: a result, and what else there is; no error."""
    cdef Piece name
    cdef int seen = 0
    while s[0] == c",":
        s = after_name(s + 1, end, &name)
        if s == NULL or is_name(&name, "id", 2) or is_name(&name, "error", 5):
            return False
        if is_name(&name, "result", 6):
            seen += 1
            s = after_result(s, end, order)
        else:
            s = after_value(s, end, 0)
        if s == NULL:
            return False
    return s[0] == c"}" and s + 1 == end and seen == 1


cdef Text after_changes(Text s, Text end, RestingOrder *order) noexcept nogil:
    """Read what a notification says: one resting order, no trades, no positions."""
    cdef Piece name
    cdef int seen = 0
    if s[0] != c"{":
        return NULL
    while True:
        s = after_name(s + 1, end, &name)
        if s == NULL:
            return NULL
        if is_name(&name, "orders", 6):
            seen += 1
            s = NULL if s[0] != c"[" else after_order(s + 1, end, order)
            if s == NULL or s[0] != c"]":
                return NULL
            s += 1
        elif is_name(&name, "trades", 6):
            seen += 16
            s = after_nothing(s)
        elif is_name(&name, "positions", 9):
            s = after_nothing(s)
        else:
            s = after_value(s, end, 0)
        if s == NULL:
            return NULL
        if s[0] != c",":
            break
    return s + 1 if s[0] == c"}" and seen == 17 else NULL


cdef bint is_notice(Text s, Text end, RestingOrder *order) noexcept nogil:
    """Read the rest of a notification from behind its channel."""
    cdef Piece name
    cdef int seen = 0
    while s[0] == c",":  # of params
        s = after_name(s + 1, end, &name)
        if s == NULL or is_name(&name, "channel", 7):
            return False
        if is_name(&name, "data", 4):
            seen += 1
            s = after_changes(s, end, order)
        else:
            s = after_value(s, end, 0)
        if s == NULL:
            return False
    if s[0] != c"}" or seen != 1:
        return False
    s += 1
    while s[0] == c",":
        s = after_name(s + 1, end, &name)
        if s == NULL or is_name(&name, "id", 2) or is_name(&name, "method", 6) or is_name(&name, "params", 6):
            return False
        s = after_value(s, end, 0)
        if s == NULL:
            return False
    return s[0] == c"}" and s + 1 == end

# The fast check of _codec.pyx: is this message exactly the regular next one? See screen.py.

cdef enum:
    HEADER_SECTION = 1
    BODY_SECTION = 2
    TRAILER_SECTION = 3

cdef struct Rule:
    byte section  # 0: the tag has no place in the message
    byte format
    byte required  # bit number + 1
    byte choice  # index of `choices`, 0: any value of the format

cdef class Table:
    """What one MsgType may carry, as arrays by tag."""

    cdef Rule *rules
    cdef int tags
    cdef mask_t required
    cdef mask_t choices[256][2]

    def __dealloc__(self):
        PyMem_Free(self.rules)

    def __init__(self, dictionary, str msg_type):
        rule = dictionary.messages[msg_type]
        sections = (
            (HEADER_SECTION, dictionary.header), (BODY_SECTION, rule.body), (TRAILER_SECTION, dictionary.trailer)
        )
        cdef int tag, section, choice = 0, bit = 0
        self.tags = max([max(tags) for _, tags in sections]) + 1
        self.rules = <Rule *>PyMem_Malloc(self.tags * sizeof(Rule))
        if self.rules == NULL:
            raise MemoryError
        memset(self.rules, 0, self.tags * sizeof(Rule))
        memset(self.choices, 0, sizeof(self.choices))
        for section, tags in sections:
            for tag in tags:
                field = dictionary.fields[tag]
                if field.values:
                    choice += 1
                    # A field whose values do not fit a mask is left to the slow path, like an unknown one.
                    if choice > 255 or not self.choose(choice, field.values, field.format == INT):
                        continue
                self.rules[tag].section = section
                self.rules[tag].format = field.format
                self.rules[tag].choice = choice if field.values else 0
        for tag in rule.required:
            if bit == 64:
                raise ValueError(f"{msg_type} has more than 64 required tags")
            self.required |= <mask_t>1 << bit
            bit += 1
            self.rules[tag].required = bit

    cdef bint choose(self, int choice, values, bint by_number):
        cdef int code
        for value in values:
            if by_number:
                code = int(value)
            elif len(value) == 1:
                code = value[0]
            else:
                return False
            if not 0 <= code < 128:
                return False
            self.choices[choice][code >> 6] |= <mask_t>1 << (code & 63)
        return True

    cdef inline bint has(self, int choice, int code) noexcept:
        return 0 <= code < 128 and (self.choices[choice][code >> 6] >> (code & 63)) & 1

    cdef inline bint fits(self, Rule *rule, const byte *s, Py_ssize_t n) noexcept:
        """Tell whether a value has the rule's format and is one of its choices; False when in doubt."""
        cdef Py_ssize_t i
        cdef long long mantissa
        cdef int exponent
        if rule.format == TEXT:
            for i in range(n):
                if s[i] < 32 or s[i] > 126:
                    return False
            return n > 0 and (rule.choice == 0 or (n == 1 and self.has(rule.choice, s[0])))
        if rule.format == CHAR:
            return n == 1 and 32 < s[0] < 127 and (rule.choice == 0 or self.has(rule.choice, s[0]))
        if rule.format == FLOAT:
            return cut_decimal(s, n, &mantissa, &exponent)
        if rule.format == TIMESTAMP:
            return parse_time(s, n) >= 0
        if rule.format == COUNT:
            return number(s, n) >= 0
        if rule.format == INT:
            mantissa = number(s, n)
            return mantissa >= 0 and (rule.choice == 0 or (n <= 3 and self.has(rule.choice, <int>mantissa)))
        if rule.format == BOOLEAN:
            return n == 1 and (s[0] == c"Y" or s[0] == c"N")
        if rule.format == DATE:
            return n == 8 and is_date(s)
        if rule.format == WORDS and rule.choice and n % 2 == 1:
            for i in range(n):
                if i % 2 == 1:
                    if s[i] != 32:
                        return False
                elif not self.has(rule.choice, s[i]):
                    return False
            return True
        return False


# Dictionary -> MsgType -> Table; shared by all sessions.
_tables = WeakKeyDictionary()


cdef inline bint same(const byte *s, Py_ssize_t n, bytes text) noexcept:
    return n == PyBytes_GET_SIZE(text) and memcmp(s, PyBytes_AS_STRING(text), n) == 0


cdef class Screen:
    """One session's fast check of application messages. See screen.Screen."""

    cdef dict tables
    cdef bytes begin_string, sender, target
    cdef long long max_latency_ns

    def __init__(self, dictionary, msg_types, begin_string, sender_comp_id, target_comp_id, max_latency_ns):
        tables = _tables.get(dictionary)
        if tables is None:
            tables = _tables[dictionary] = {
                msg_type: Table(dictionary, msg_type) for msg_type in dictionary.messages
            }
        self.tables = {msg_type: table for msg_type, table in tables.items() if msg_type in msg_types}
        self.begin_string = begin_string.encode()
        self.sender = sender_comp_id.encode()
        self.target = target_comp_id.encode()
        self.max_latency_ns = max_latency_ns

    def passes(self, Message message not None, long long msg_seq_num, long long now_ns):
        """Tell whether `message` is an application message, wholly valid, numbered so and sent just now."""
        cdef Table table
        cdef Rule *rule
        cdef Field *field
        cdef const byte *raw = <const byte *>PyBytes_AS_STRING(message.raw)
        cdef const byte *s
        cdef mask_t seen = 0
        cdef int i, n, section = HEADER_SECTION
        cdef long long age
        if message.msg_seq_num != msg_seq_num or message.has_duplicates:
            return False
        found = self.tables.get(message.msg_type)
        if found is None:
            return False
        table = <Table>found
        for i in range(message.count):
            field = &message.cut[i]
            if field.tag >= table.tags:
                return False
            rule = &table.rules[field.tag]
            if rule.section < section:  # out of order, or no place here at all
                return False
            section = rule.section
            s = raw + field.start
            n = field.end - field.start
            if not table.fits(rule, s, n):
                return False
            if rule.required:
                seen |= <mask_t>1 << (rule.required - 1)
            if section != HEADER_SECTION:
                continue
            if field.tag == 52:
                age = now_ns - parse_time(s, n)
                if age > self.max_latency_ns or age < -self.max_latency_ns:
                    return False
            elif field.tag == 49:
                if not same(s, n, self.sender):
                    return False
            elif field.tag == 56:
                if not same(s, n, self.target):
                    return False
            elif field.tag == 8:
                if not same(s, n, self.begin_string):
                    return False
            elif field.tag == 43 and s[0] != c"N":
                return False
        return seen == table.required

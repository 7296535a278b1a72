# The fast check of _codec.pyx: is this message exactly the regular next one? See screen.py.

cdef enum:
    HEADER_SECTION = 1
    BODY_SECTION = 2
    TRAILER_SECTION = 3
    MAX_TAGS = 65536
    MAX_GROUPS = 48
    MASKS = 5
    SLOTS = 320  # tags of a message, groups' members apart: 64 a mask
    GROUP_FORMAT = 13

cdef struct Rule:
    byte section  # 0: the tag has no place at the level of the message
    byte format  # 0: never sure, left to the slow path
    byte required  # bit number + 1
    byte choice  # index of `choices`, 0: any value of the format
    unsigned short slot  # bit that notes the tag as seen
    byte group  # index of `groups` that this tag counts, 0: none
    byte known  # of the message, be it in a group only

cdef struct Group:
    int first
    mask_t required  # by place
    byte *places  # by tag: 1, 2, ... in order; 0: no member

def _all_tags(groups, tags):
    """Return `tags` with all that groups add, however deep."""
    found = set(tags)
    for group in groups.values():
        found |= _all_tags(group.groups, group.tags)
    return found


cdef class Table:
    """What one MsgType may carry, as arrays by tag."""

    cdef Rule *rules
    cdef int tags, choice_count, group_count
    cdef mask_t required
    cdef bint allows_unknown_tags, allows_any_order
    cdef mask_t choices[256][2]
    cdef Group groups[MAX_GROUPS]

    def __dealloc__(self):
        cdef int i
        PyMem_Free(self.rules)
        for i in range(MAX_GROUPS):
            PyMem_Free(self.groups[i].places)

    def __init__(self, dictionary, str msg_type):
        rule = dictionary.messages[msg_type]
        sections = (
            (HEADER_SECTION, dictionary.header), (BODY_SECTION, rule.body), (TRAILER_SECTION, dictionary.trailer)
        )
        cdef int tag, section, slot = 0, bit = 0
        if len(rule.required) > 64:
            return  # too many for the mask: no message of this type passes
        self.allows_unknown_tags = dictionary.allows_unknown_tags
        self.allows_any_order = dictionary.allows_any_order
        self.tags = min(max(_all_tags(rule.groups, dictionary.header | rule.body | dictionary.trailer)) + 1, MAX_TAGS)
        self.rules = <Rule *>PyMem_Malloc(self.tags * sizeof(Rule))
        if self.rules == NULL:
            raise MemoryError
        memset(self.rules, 0, self.tags * sizeof(Rule))
        memset(self.choices, 0, sizeof(self.choices))
        memset(self.groups, 0, sizeof(self.groups))
        for tag in rule.all_tags:
            if tag < self.tags:
                self.rules[tag].known = 1
        for section, tags in sections:
            for tag in tags:
                if tag < self.tags and slot < SLOTS - 1:
                    slot += 1
                    self.rules[tag].section = section
                    self.rules[tag].slot = slot
                    self.add_field(dictionary.fields[tag])
        for group in rule.groups.values():
            self.add_group(dictionary, group)
        for tag in rule.required:
            self.required |= <mask_t>1 << bit
            bit += 1
            if tag < self.tags:  # a required tag without a rule leaves the message to the slow path
                self.rules[tag].required = bit

    cdef add_field(self, field):
        """Note format and values of a tag, unless they do not fit: then it is left to the slow path."""
        cdef Rule *rule = &self.rules[<int>field.tag]
        if field.values:
            if self.choice_count == 255 or not self.choose(self.choice_count + 1, field.values, field.format == INT):
                return
            self.choice_count += 1
            rule.choice = self.choice_count
        rule.format = field.format

    cdef add_group(self, dictionary, group):
        """Note a repeating group with those inside it; one too large stays with the slow path."""
        cdef int tag, place, index = self.group_count + 1
        cdef Group *added
        if index == MAX_GROUPS or len(group.tags) > 63 or max(group.tags) >= self.tags:
            return
        added = &self.groups[index]
        added.places = <byte *>PyMem_Malloc(self.tags)
        if added.places == NULL:
            raise MemoryError
        memset(added.places, 0, self.tags)
        self.group_count = index
        self.rules[<int>group.count_tag].group = index
        added.first = group.tags[0]
        for place, tag in enumerate(group.tags, 1):
            added.places[tag] = place
            if tag in group.required:
                added.required |= <mask_t>1 << place
            if self.rules[tag].format == 0:
                self.add_field(dictionary.fields[tag])
        for nested in group.groups.values():
            self.add_group(dictionary, nested)

    cdef bint choose(self, int choice, values, bint by_number):
        cdef int code
        for value in values:
            if by_number:
                code = int(value)
            elif len(value) == 1:
                code = value[0]
            else:
                code = -1
            if not 0 <= code < 128:
                memset(self.choices[choice], 0, sizeof(self.choices[choice]))
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
            return n > 0 and mg_is_text(s, n) and (rule.choice == 0 or (n == 1 and self.has(rule.choice, s[0])))
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
        if rule.format == GROUP_FORMAT:
            return rule.group and number(s, n) >= 0
        if rule.format == WORDS and rule.choice and n % 2 == 1:
            for i in range(n):
                if i % 2 == 1:
                    if s[i] != 32:
                        return False
                elif not self.has(rule.choice, s[i]):
                    return False
            return True
        return False

    cdef int pass_group(self, Message message, int at, int index, long long count) noexcept:
        """Return the field behind a group whose entries begin at field `at`; -1 when in doubt."""
        cdef Group *group = &self.groups[index]
        cdef const byte *raw = <const byte *>PyBytes_AS_STRING(message.raw)
        cdef Field *field
        cdef Rule *rule
        cdef mask_t seen
        cdef int place, last
        cdef long long entries = 0
        while at < message.count:
            field = &message.cut[at]
            if field.tag >= self.tags:
                return -1
            if group.places[field.tag] == 0:
                break
            entries += 1
            if field.tag != group.first or entries > count:
                return -1
            seen = 0
            last = 0
            while at < message.count:
                field = &message.cut[at]
                if field.tag >= self.tags:
                    return -1
                place = group.places[field.tag]
                if place == 0 or (field.tag == group.first and seen):
                    break
                rule = &self.rules[field.tag]
                if (place <= last and not self.allows_any_order) or (seen >> place) & 1:
                    return -1
                if not self.fits(rule, raw + field.start, field.end - field.start):
                    return -1
                last = place
                seen |= <mask_t>1 << place
                at += 1
                if rule.group:
                    at = self.pass_group(message, at, rule.group, number(raw + field.start, field.end - field.start))
                    if at < 0:
                        return -1
            if seen & group.required != group.required:
                return -1
        return at if entries == count else -1


# Dictionary -> MsgType -> Table; shared by all sessions.
_tables = WeakKeyDictionary()


cdef inline bint same(const byte *s, Py_ssize_t n, bytes text) noexcept:
    return n == PyBytes_GET_SIZE(text) and memcmp(s, PyBytes_AS_STRING(text), n) == 0


cdef class Screen:
    """One session's fast check of application messages. See screen.Screen."""

    def __init__(
        self, dictionary, msg_types, begin_string, sender_comp_id, target_comp_id, max_latency_ns, identity=()
    ):
        tables = _tables.setdefault(dictionary, {})
        for msg_type in dictionary.messages.keys() & msg_types - tables.keys():
            tables[msg_type] = Table(dictionary, msg_type)
        self.identity = dict(identity)
        self.identity_count = len(self.identity)
        self.tables = {msg_type: table for msg_type, table in tables.items() if msg_type in msg_types}
        self.begin_string = begin_string.encode()
        self.sender = sender_comp_id.encode()
        self.target = target_comp_id.encode()
        self.max_latency_ns = max_latency_ns

    def passes(self, Message message not None, long long msg_seq_num, long long now_ns):
        """Tell whether `message` is an application message, wholly valid, numbered so and sent just now."""
        return self.lets_pass(message, msg_seq_num, now_ns)

    cdef bint lets_pass(self, Message message, long long msg_seq_num, long long now_ns) except -1:
        cdef Table table
        cdef Rule *rule
        cdef Field *field
        cdef const byte *raw = <const byte *>PyBytes_AS_STRING(message.raw)
        cdef const byte *s
        cdef mask_t required = 0
        cdef mask_t seen[MASKS]
        cdef int i = 0, n, section = HEADER_SECTION, identified = 0
        cdef long long age
        if message.msg_seq_num != msg_seq_num:
            return False
        found = self.tables.get(message.msg_type)
        if found is None:
            return False
        table = <Table>found
        memset(seen, 0, sizeof(seen))
        while i < message.count:
            field = &message.cut[i]
            if field.tag >= table.tags:
                if table.allows_unknown_tags and field.end > field.start and field.tag < MAX_TAGS:
                    i += 1
                    continue
                return False
            rule = &table.rules[field.tag]
            if rule.section < section:  # out of order, or no place here at all
                if rule.section == 0:
                    if table.allows_unknown_tags and field.tag > 0 and not rule.known and field.end > field.start:
                        i += 1
                        continue
                    return False
                if not table.allows_any_order:
                    return False
            section = rule.section
            if seen[rule.slot >> 6] >> (rule.slot & 63) & 1:
                return False
            seen[rule.slot >> 6] |= <mask_t>1 << (rule.slot & 63)
            s = raw + field.start
            n = field.end - field.start
            if not table.fits(rule, s, n):
                return False
            if rule.required:
                required |= <mask_t>1 << (rule.required - 1)
            i += 1
            if section == HEADER_SECTION:
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
                elif self.identity_count > 0:
                    value = self.identity.get(field.tag)
                    if value is not None:
                        if not same(s, n, <bytes>value):
                            return False
                        identified += 1
            if rule.group:
                i = table.pass_group(message, i, rule.group, number(s, n))
                if i < 0:
                    return False
        return required == table.required and identified == self.identity_count

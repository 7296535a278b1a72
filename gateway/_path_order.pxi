# An order from message to venue: Pipeline.receive with ._new_order, and .place.

def take_regular(session, pipeline, name, now_ns, long long most):
    """Receive up to so many messages, as long as they are regular; return how many. See ClientLink._handle_events."""
    cdef long long taken = 0
    if not is_a(pipeline, <PyObject *>Pipeline):
        return 0
    method = pipeline.receive
    if not PyMethod_Check(method) or PyMethod_GET_FUNCTION(method) != <PyObject *>receive:
        return 0
    while taken < most:
        message = next_regular(session)
        if message is None:
            break
        take(pipeline, name, message, now_ns)
        taken += 1
    return taken


def receive(self, session, message, now_ns):
    """Take an ordinary order of a session that nothing is kept from. See Pipeline.receive and Pipeline._new_order."""
    if not is_a(self, <PyObject *>Pipeline) or type(message) is not Message:
        return plain_receive(self, session, message, now_ns)
    return take(self, session, <Message>message, now_ns)


cdef object take(object self, object session, Message message, object now_ns):
    if message.msg_type != "D" or PyDict_Size(<dict>slot(self, pipeline_gates)):
        return plain_receive(self, session, message, now_ns)
    ledger, monitor = slot(self, pipeline_ledger), slot(self, pipeline_monitor)
    if not is_a(ledger, <PyObject *>Ledger) or not is_a(monitor, <PyObject *>Monitor):
        return plain_receive(self, session, message, now_ns)
    market = slot(self, pipeline_market)
    if not is_a(market, <PyObject *>Market):
        return plain_receive(self, session, message, now_ns)
    order = ordinary_order(message, slot(ledger, ledger_by_symbol), slot(market, market_day_ends), now_ns)
    if order is None:
        return plain_receive(self, session, message, now_ns)
    set_slot(monitor, monitor_orders_in, slot(monitor, monitor_orders_in) + 1)
    name = <str>slot(order, asked_account)
    account = entry(entry(slot(self, pipeline_accounts_of), session), name) if name else self.account(session, name)
    try:
        decision = decided(order, account, market)
        if is_a(decision, <PyObject *>Reject):
            if not refuse(self, session, message, decision, now_ns):
                self.commit(refusal_of(session, message, decision), now_ns)
            count_refused(monitor, decision, now_ns)
        else:
            place(self, session, message.msg_seq_num, decision, now_ns)
    except JournalError as error:
        self.refuse_unwritten(session, message, str(error), now_ns)


cdef object entry(object table, object key):
    """Return what a mapping has for a key, or None; None of no mapping."""
    cdef PyObject *found
    if not PyDict_CheckExact(table):
        return None if table is None else table.get(key)
    found = PyDict_GetItemWithError(table, key)
    return None if found == NULL else <object>found


cdef object decided(object order, object account, object market):
    """pre_trade.evaluate, with what the gate knows for certain asked for in one call."""
    if account is None:
        return evaluate(order, account, market)
    try:
        looked = first_look(order, account, market)
    except Exception as error:
        return broken(account_is_trading, error)
    return looked if is_a(looked, <PyObject *>Reject) else decide(order, account, market, looked)


def place(self, session, seq_in, decision, now_ns):
    """Journal, hold and send an approved order. See Pipeline.place."""
    if not is_a(self, <PyObject *>Pipeline) or not is_a(decision, <PyObject *>Approved):
        return plain_place(self, session, seq_in, decision, now_ns)
    order, account = slot(decision, approval_order), slot(decision, approval_account)
    ledger, monitor = slot(self, pipeline_ledger), slot(self, pipeline_monitor)
    if (
        slot(order, asked_terms) is not None or not is_a(account, <PyObject *>Account)
        or not is_a(ledger, <PyObject *>Ledger) or not is_a(monitor, <PyObject *>Monitor)
    ):
        return plain_place(self, session, seq_in, decision, now_ns)
    order_id = f"{slot(ledger, ledger_run)}-{slot(ledger, ledger_order_count) + 1}"
    checks_run = slot(decision, approval_checks_run)
    self.commit(
        OrderApproved(
            session, seq_in, order_id, slot(order, asked_cl_ord_id), slot(account, account_name),
            slot(slot(decision, approval_instrument), instrument_index), slot(order, asked_side),
            slot(order, asked_lots), slot(order, asked_ticks), slot(order, asked_ord_type),
            slot(order, asked_time_in_force), slot(order, asked_is_post_only), slot(order, asked_is_reduce_only),
            checks_run,
        ),
        now_ns,
    )
    set_slot(monitor, monitor_accepted, slot(monitor, monitor_accepted) + 1)
    set_slot(monitor, monitor_checks_run, slot(monitor, monitor_checks_run) + checks_run)
    waiting = <dict>slot(monitor, monitor_accepted_at)
    if PyDict_Size(waiting) < most_timed:
        PyDict_SetItem(waiting, order_id, now_ns)
    if slot(account, account_prevention) is CANCEL_RESTING:
        self._cancel_resting(decision, now_ns)
    failure = sent(slot(self, pipeline_router), decision, order_id, now_ns)
    if failure is not None:
        self._end_unsent(order_id, failure, now_ns)


cdef object sent(object router, object decision, object order_id, object now_ns):
    """Router.send."""
    if not is_a(router, <PyObject *>Router):
        return router.send(decision, order_id, now_ns)
    venue = slot(slot(decision, approval_instrument), instrument_venue)
    PySet_Add(slot(router, router_touched), venue)
    return (<dict>slot(router, router_links))[venue].place(decision, order_id, now_ns)


cdef int add_one(dict counts, object key) except -1:
    cdef PyObject *found = PyDict_GetItemWithError(counts, key)
    PyDict_SetItem(counts, key, 1 if found == NULL else <object>found + 1)
    return 0

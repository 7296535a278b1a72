"""What can go wrong between a protocol object and its peer."""


class ProtocolError(Exception):
    """Something broke the protocol; see the two subclasses for who."""


class LocalProtocolError(ProtocolError):
    """We asked a protocol object for something that its state does not allow: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; its connection must be closed."""

"""Both implementations of the codec, for tests that run each case on either."""

from types import SimpleNamespace

from protocols.fix import duplicates, plain, plain_framer, screen, values

PLAIN = SimpleNamespace(
    name="plain",
    Framer=plain_framer.Framer,
    Header=plain.Header,
    Layout=plain.Layout,
    Message=plain.Message,
    Screen=screen.Screen,
    count_steps=values.count_steps,
    decode=plain.decode,
    encode=plain.encode,
    format_decimal=values.format_decimal,
    format_hundredths=values.format_hundredths,
    format_timestamp=values.format_timestamp,
    frame=plain.frame,
    parse_decimal=values.parse_decimal,
    parse_timestamp=values.parse_timestamp,
    possible_duplicate=duplicates.possible_duplicate,
)

try:
    from protocols.fix import _codec
except ImportError:  # no compiler: the plain twin is all there is
    TWINS = [PLAIN]
else:
    COMPILED = SimpleNamespace(
        **{name: getattr(_codec, name) for name in vars(PLAIN) if name != "name"}, name="compiled"
    )
    TWINS = [PLAIN, COMPILED]

IDS = [twin.name for twin in TWINS]

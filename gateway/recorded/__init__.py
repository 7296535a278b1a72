"""Recorded streams of the venues, played to the codecs that read them: `margingate recorded FILE`."""

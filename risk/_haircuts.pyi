from risk.haircut_tables import plain_off_rows as off_rows  # the compiled twin has the same signature

__all__ = ["off_rows"]

"""A checker of histories: what transactions have read and written, and which anomalies that shows.

Pure: it knows neither Django nor a server. `check.complaints` is the way in.
"""

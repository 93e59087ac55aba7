"""The built-in data-set formats: functions from one record to one edit request."""

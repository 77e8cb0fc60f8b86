"""All long runs one after the other, with a report."""

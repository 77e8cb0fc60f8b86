"""A page about the cluster in Django's admin: ``INSTALLED_APPS = [..., "galera_router.staff"]``."""

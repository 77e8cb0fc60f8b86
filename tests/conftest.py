"""What all tests need: the fixtures of galera_router.testing come with the installed package."""

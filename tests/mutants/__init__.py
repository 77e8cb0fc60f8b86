"""Routers that are broken on purpose: does a checker see what is wrong with them?"""

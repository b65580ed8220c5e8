"""Tests of the product; a package, so that others of that name do not stand before it."""

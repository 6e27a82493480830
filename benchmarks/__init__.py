"""Side-by-side measurements that print ratios; never asserted on in tests."""

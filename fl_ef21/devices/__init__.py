"""What devices can do: profiles, how they are made from measurements, and when devices are there."""

"""EC2 hosts and whatever is left at Amazon: made, found by their tags in every region, priced, removed."""

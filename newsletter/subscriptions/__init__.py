"""The stories of people: signing up, confirming, preferences, leaving, being forgotten."""

"""What is done to a backbone's symbol before it trains or embeds."""

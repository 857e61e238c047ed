"""What a trained model shows about its data: people under two labels, labels with two people, shared people."""

"""What listeners heard, kept in the table ``matches`` beside the index it was recognized with."""

"""Vocabularies measured and extended, and new ones trained on texts. The room trains no model."""

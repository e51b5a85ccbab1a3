"""Requests of users: how they travel, and how they are kept until they are answered."""

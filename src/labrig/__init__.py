"""labrig starts machine-learning research repositories from a template and keeps them up to date."""

"""Stand-ins on this machine for the package hosts that the generated repositories name, and drivers for their tools."""

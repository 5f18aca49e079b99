"""HTTP/1.1 on both sides: the door for visitors, connections to the origin, tunnels. Carries bytes, decides nothing."""

"""What the end-to-end tests run callforward between: MTAs, next hops, DNS and clients, all private
and on loopback."""

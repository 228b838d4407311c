# The eavesdropper's lab (docs/evaluation.md): what an attacker learns from traffic on the live tunnel.
.PHONY: attack attack-quick check-attack
check-attack: ## the lab's own programs: pyflakes, unit tests, wrong calls, no root
	bench/attack/check
attack-quick: all tools check-attack ## what an attacker learns from 80 short sessions, with limits, root
	BUILD=$(BUILD) bench/attack/evaluate quick
attack: all tools check-attack ## what an attacker learns under every policy, root: TRACES=DIR COPIES=4
	BUILD=$(BUILD) bench/attack/evaluate full

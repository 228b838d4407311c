# The eavesdropper's lab (docs/evaluation.md): what an attacker learns from traffic recorded on the live tunnel.
.PHONY: attack attack-quick check-attack
check-attack: ## the lab's own programs: pyflakes, unit tests, wrong calls, no root
	bench/attack/check
attack-quick: all tools check-attack ## eavesdropper's lab on 80 short sessions, with expectations, root, 15 min
	BUILD=$(BUILD) bench/attack/evaluate quick
attack: all tools check-attack ## eavesdropper's lab on every policy, root, hours: make attack TRACES=DIR COPIES=4
	BUILD=$(BUILD) bench/attack/evaluate full

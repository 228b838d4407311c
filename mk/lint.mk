# Checks that run nothing of the product. What each of them looks at is in
# scripts/lint/.
.PHONY: lint format man
lint: ## format, function length, spelling, shell scripts, man pages, include rights
	scripts/lint/run $(BUILD)

format: ## make the C files look as clang-format wants them
	scripts/lint/format --fix $$(scripts/lint/files c)

man: ## check the man pages
	mandoc -T lint -W warning $$(scripts/lint/files man)

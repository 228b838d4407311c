# SPDX-License-Identifier: BSD-3-Clause
"""What is in a process's memory: memory.py PID HEX... prints each of these byte strings that is found in a page
that can be read, with its address. Exit status 1 if there is one; 2 if nothing could be read. As root."""
import sys


def areas(pid):
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            words = line.split()
            if words[1].startswith("r") and not line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                start, end = (int(number, 16) for number in words[0].split("-"))
                if end - start <= 1 << 30:  # larger is the address sanitizer's own table
                    yield start, end, words[5] if len(words) > 5 else ""


def main(pid, *patterns):
    wanted = [bytes.fromhex(pattern) for pattern in patterns]
    seen, found = 0, 0
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end, name in areas(pid):
            try:
                memory.seek(start)
                data = memory.read(end - start)
            except OSError:
                continue  # memfd_secret, for one: not even root reads it
            seen += len(data)
            for pattern in wanted:
                at = data.find(pattern)
                if at >= 0:
                    found += 1
                    print(f"{pattern.hex()[:16]}... at {start + at:#x} in {name or 'anonymous memory'}")
    print(f"{seen} bytes of process {pid}")
    return 2 if seen < 1 << 20 else bool(found)


sys.exit(main(*sys.argv[1:]))

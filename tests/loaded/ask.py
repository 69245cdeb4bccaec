"""The command that stands for Python: it hands all that it has to the loaded process, and ends as what runs
there ends. Python starts it with -IS, and it imports as little as it can: it takes 10 ms.

Its arguments are the loaded process's socket, and what Python would be called with.
"""

import _socket
import os
import sys

there = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
there.connect(sys.argv[1])
here = os.open(".", os.O_RDONLY)
standard = []
for number in range(3):
    try:
        os.fstat(number)
    except OSError:
        continue
    if number not in (there.fileno(), here):
        standard.append(number)
words = sys.argv[2:]
parts = ["".join(map(str, standard)).encode(), str(len(words)).encode(), *map(os.fsencode, words)]
parts += [name + b"=" + value for name, value in os.environb.items()]
text = b"\0".join(parts)
passed = b"".join(number.to_bytes(4, sys.byteorder) for number in [here, *standard])
there.sendmsg([len(text).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)])
while text:
    text = text[there.send(text) :]
if 0 in standard:
    os.close(0)  # who writes to it hears that what runs there reads no more
code = int(there.recv(8) or b"254")
if code < 0:
    import signal  # 4 ms

    if code != -signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)

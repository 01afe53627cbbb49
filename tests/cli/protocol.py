#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The control socket: JSON-RPC 2.0 as docs/control-protocol.md says, and clients that mean harm."""

import json
import random
import resource
import time

from support import PROMPT, STATUS_INPUT, CliTest, main, wait_for

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, WRONG_STATE = -32700, -32600, -32601, -32602, -32000
REQUEST_MAX = 65536
CLIENTS_MAX = 16
STATUS = b'{"jsonrpc": "2.0", "id": 1, "method": "guest.status"}'


class Protocol(CliTest):
    def setUp(self):
        super().setUp()
        self.process = self.start("--kernel", self.file("k", "spin"), "--name", "one", "--memory", "64M")
        self.connection = self.connect("one")
        self.addCleanup(self.connection.socket.close)

    def error_code(self, data):
        answer = self.connection.answer(data)
        self.assertEqual(answer["jsonrpc"], "2.0")
        self.assertNotIn("result", answer)
        self.assertIsInstance(answer["error"]["message"], str)
        return answer["error"]["code"]

    def test_status(self):
        result = self.connection.call("guest.status")["result"]
        self.assertEqual((result["name"], result["state"], result["memory_bytes"], result["cpus"]), ("one", "running", 64 << 20, 1))
        self.assertEqual((result["engine"], result["cpu_model"]), ("translate", "max"))
        self.assertGreater(result["uptime_ns"], 0)
        self.assertEqual(str(result["pid"]), self.guests()["one"]["PID"])

    def test_every_method_is_listed_and_documented(self):
        methods = self.connection.call("rpc.discover")["result"]["methods"]
        names = {method["name"] for method in methods}
        self.assertEqual(names, {"guest.ledger", "guest.settle", "guest.trace", "guest.status", "guest.pause", "guest.resume", "guest.reset", "guest.stop", "guest.kill",
                                 "guest.stats", "guest.profile", "guest.agent", "guest.schedule", "screen.text", "screen.pixels", "keyboard.type", "keyboard.key",
                                 "rpc.discover"})
        with open(self.documentation(), encoding="utf-8") as file:
            text = file.read()
        for name in names:
            self.assertIn(f"`{name}`", text)

    @staticmethod
    def documentation():
        import pathlib
        return pathlib.Path(__file__).parents[2] / "docs" / "control-protocol.md"

    def test_states(self):
        for method, state in (("pause", "paused"), ("resume", "running"), ("reset", "running"), ("stop", "running")):
            self.assertEqual(self.connection.call(f"guest.{method}")["result"], {"state": state})

    def test_the_id_comes_back_as_it_was(self):
        for identity in (0, -7, 2**53, "text", "", 1.5):
            self.assertEqual(self.connection.call("guest.status", identity=identity)["id"], identity)
        answer = self.connection.answer(b'{"jsonrpc": "2.0", "id": null, "method": "guest.status"}')
        self.assertIsNone(answer["id"])
        self.assertIn("result", answer)

    def test_notifications_are_not_answered(self):
        for method in ("guest.pause", "no.such.method"):
            self.connection.send(json.dumps({"jsonrpc": "2.0", "method": method}).encode() + b"\n")
        self.assertEqual(self.connection.call("guest.status", identity=9)["id"], 9)
        self.assertEqual(self.guests()["one"]["STATE"], "paused")

    def test_batches(self):
        answers = self.connection.answer(
            b'[{"jsonrpc":"2.0","id":1,"method":"guest.pause"},{"jsonrpc":"2.0","method":"guest.resume"},'
            b'{"jsonrpc":"2.0","id":2,"method":"guest.status"},7]')
        self.assertEqual([answer.get("id") for answer in answers], [1, 2, None])
        self.assertEqual(answers[1]["result"]["state"], "running")
        self.assertEqual(answers[2]["error"]["code"], INVALID_REQUEST)
        self.assertEqual(self.error_code(b"[]"), INVALID_REQUEST)
        self.assertEqual(self.error_code(b"[" + b",".join([STATUS] * 33) + b"]"), INVALID_REQUEST)

    def test_bad_requests(self):
        for data, code in ((b"", PARSE_ERROR), (b"{", PARSE_ERROR), (b"\xff\xfe", PARSE_ERROR), (b'{"a":1,"a":2}', PARSE_ERROR),
                           (b"[" * 5000, PARSE_ERROR), (b"nul", PARSE_ERROR), (b'"\x00"', PARSE_ERROR),
                           (b"1", INVALID_REQUEST), (b"{}", INVALID_REQUEST), (b"null", INVALID_REQUEST),
                           (b'{"jsonrpc":"1.0","id":1,"method":"guest.status"}', INVALID_REQUEST),
                           (b'{"jsonrpc":"2.0","id":1,"method":7}', INVALID_REQUEST),
                           (b'{"jsonrpc":"2.0","id":[],"method":"guest.status"}', INVALID_REQUEST),
                           (b'{"jsonrpc":"2.0","id":1,"method":"guest.explode"}', METHOD_NOT_FOUND),
                           (b'{"jsonrpc":"2.0","id":1,"method":"guest.status","params":[1]}', INVALID_PARAMS),
                           (b'{"jsonrpc":"2.0","id":1,"method":"guest.status","params":"x"}', INVALID_PARAMS),
                           (b'{"jsonrpc":"2.0","id":1,"method":"guest.status","params":{"x":1}}', INVALID_PARAMS)):
            self.assertEqual(self.error_code(data), code, data[:80])
        for timeout in ("-1", "86401", '"1"', "1.5", "true", "9223372036854775807"):
            data = f'{{"jsonrpc":"2.0","id":1,"method":"guest.stop","params":{{"timeout":{timeout}}}}}'
            self.assertEqual(self.error_code(data.encode()), INVALID_PARAMS, timeout)
        self.assert_runs(self.process)

    def test_the_agent_is_asked_alone_and_refused_clearly(self):
        self.assertEqual(self.connection.call("guest.agent", command="guest-info")["error"]["code"], WRONG_STATE)
        for params in ("{}", '{"command":1}', '{"command":"a","arguments":[]}', '{"command":"a","timeout":0}',
                       '{"command":"a","thaw_after":3601}', '{"command":"a","timeout":"1"}'):
            data = f'{{"jsonrpc":"2.0","id":1,"method":"guest.agent","params":{params}}}'
            self.assertEqual(self.error_code(data.encode()), INVALID_PARAMS, params)
        answers = self.connection.answer(b'[{"jsonrpc":"2.0","id":1,"method":"guest.agent","params":{"command":"guest-info"}}]')
        self.assertEqual(answers[0]["error"]["code"], INVALID_REQUEST)
        self.assert_runs(self.process)

    def test_guest_says_what_is_wrong(self):
        for words, what in ((["dance"], "info, exec"), (["exec"], "a program"), (["info", "more"], "no arguments"), (["info"], "--agent")):
            self.assertIn(what, self.refuse(STATUS_INPUT, "guest", "one", *words))

    def test_stop_needs_a_running_guest(self):
        self.connection.call("guest.pause")
        self.assertEqual(self.connection.call("guest.stop")["error"]["code"], WRONG_STATE)

    def test_kill_is_answered(self):
        self.assertEqual(self.connection.call("guest.kill")["result"], {"state": "ended"})
        self.assertIsNone(self.connection.line())

    def test_a_request_may_come_in_pieces_and_several_at_once(self):
        for byte in STATUS:
            self.connection.send(bytes([byte]))
        self.connection.send(b"\n" + STATUS + b"\n" + STATUS + b"\n")
        for _ in range(3):
            self.assertIn("result", json.loads(self.connection.line()))

    def test_the_longest_request_and_one_byte_more(self):
        padding = b" " * (REQUEST_MAX - 1 - len(STATUS))
        self.assertIn("result", self.connection.answer(STATUS + padding))
        self.connection.send(STATUS + padding + b" ")
        self.assertEqual(json.loads(self.connection.line())["error"]["code"], INVALID_REQUEST)
        self.assertIsNone(self.connection.line(), "the connection is closed")


class Hostile(CliTest):
    def setUp(self):
        super().setUp()
        self.process = self.start("--kernel", self.file("k", "spin"), "--name", "one")

    def assert_served(self):
        """A well-behaved client still gets its answer soon."""
        started = time.monotonic()
        with self.connect("one") as connection:
            self.assertIn("result", connection.call("guest.status"))
        self.assertLess(time.monotonic() - started, PROMPT)
        self.assert_runs(self.process)

    def test_a_client_with_many_requests_does_not_delay_others(self):
        """One request in a turn: another client has its answer while most of the many wait."""
        many = b'{"jsonrpc":"2.0","method":"guest.stats"}\n' * 1000
        with self.connect("one") as busy:
            busy.send(many + STATUS + b"\n")
            self.assert_served()
            busy.socket.setblocking(False)
            self.assertRaises(BlockingIOError, busy.socket.recv, 1)
            busy.socket.settimeout(20)
            self.assertIn("result", json.loads(busy.line()))

    def test_silent_clients_do_not_lock_others_out(self):
        silent = [self.connect("one") for _ in range(3 * CLIENTS_MAX)]
        self.assert_served()
        for connection in silent:
            connection.socket.close()
        self.assert_served()

    def test_silent_clients_that_take_all_descriptors(self):
        self.start("--kernel", self.file("k2", "spin"), "--name", "two",
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20)))
        silent = [self.connect("two") for _ in range(CLIENTS_MAX)]
        with self.connect("two") as connection:
            self.assertIn("result", connection.call("guest.status"))
        for connection in silent:
            connection.socket.close()

    def test_a_client_that_never_reads_costs_little(self):
        """It sends requests until its answers back up; then it is not read any more, and memory does not grow."""
        pid = self.guests()["one"]["PID"]

        def resident():
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * 4096

        before = resident()
        greedy = [self.connect("one") for _ in range(8)]
        request = b'{"jsonrpc":"2.0","id":1,"method":"guest.stats"}\n' * 64
        for connection in greedy:
            connection.socket.settimeout(0.2)
            try:
                for _ in range(10000):
                    connection.send(request)
                self.fail("everything was taken from a client that reads nothing")
            except TimeoutError:
                pass
        self.assert_served()
        self.assertLess(resident() - before, 16 << 20)
        # Who reads again is served again.
        greedy[0].socket.settimeout(20)
        for _ in range(100):
            self.assertIn("result", json.loads(greedy[0].line()))
        for connection in greedy:
            connection.socket.close()
        self.assert_served()

    def test_half_a_request_and_gone(self):
        for _ in range(100):
            with self.connect("one") as connection:
                connection.send(b'{"jsonrpc":')
        self.assert_served()

    def test_a_request_and_gone_before_the_answer(self):
        for _ in range(100):
            with self.connect("one") as connection:
                connection.send((STATUS + b"\n") * 50)
        self.assert_served()

    def test_random_bytes(self):
        generator = random.Random(1)
        for _ in range(50):
            with self.connect("one") as connection:
                connection.send(generator.randbytes(generator.randrange(1, 3000)) + b"\n")
                for line in iter(connection.line, None):
                    self.assertIn("error", json.loads(line))
                    break
        self.assert_served()

    def test_mutated_requests(self):
        """Requests with some bytes changed: each line gets an answer that is valid JSON-RPC, or is a notification."""
        generator = random.Random(2)
        seeds = (b'{"jsonrpc":"2.0","id":1,"method":"guest.stop","params":{"timeout":86400}}',
                 b'{"jsonrpc":"2.0","id":1,"method":"keyboard.type","params":{"text":"aB\\n","interval_ms":10}}',
                 b'{"jsonrpc":"2.0","id":1,"method":"keyboard.key","params":{"chords":["ctrl-alt-f1","a"]}}',
                 b'{"jsonrpc":"2.0","id":1,"method":"screen.text","params":{"since":1}}')
        with self.connect("one") as connection:
            for turn in range(4000):
                data = bytearray(seeds[turn % len(seeds)])
                for _ in range(generator.randrange(1, 4)):
                    data[generator.randrange(len(data))] = generator.choice(b'{}[]",:0-9ex\\ \t')
                connection.send(bytes(data) + b"\n" + STATUS.replace(b"1,", b'"end",') + b"\n")
                answer = json.loads(connection.line())
                while answer["id"] != "end":
                    self.assertTrue(("result" in answer) != ("error" in answer))
                    answer = json.loads(connection.line())
        self.assert_served()

    def test_kill_works_with_all_places_taken_by_greedy_clients(self):
        greedy = [self.connect("one") for _ in range(CLIENTS_MAX)]
        for connection in greedy:
            connection.socket.setblocking(False)
            try:
                while True:
                    connection.socket.send((STATUS + b"\n") * 1000)
            except BlockingIOError:
                pass
        started = time.monotonic()
        self.succeed("kill", "one")
        self.assertLess(time.monotonic() - started, PROMPT)
        for connection in greedy:
            connection.socket.close()
        wait_for(lambda: self.process.poll() is not None)


if __name__ == "__main__":
    main()

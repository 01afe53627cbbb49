# SPDX-License-Identifier: MIT
"""A little of what Python programs do: objects, dictionaries, strings, sorting, regular expressions, JSON."""

import json
import re


class Account:
    def __init__(self, number):
        self.number = number
        self.balance = 0
        self.moves = []

    def move(self, amount):
        self.balance += amount
        self.moves.append(amount)


def play():
    accounts = {f"account-{number}": Account(number) for number in range(500)}
    names = list(accounts)
    state = 12345
    for _ in range(120000):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        accounts[names[state % 500]].move((state >> 8) % 200 - 100)
    return accounts


def tell(accounts):
    ranked = sorted(accounts.values(), key=lambda account: (account.balance, account.number))
    text = json.dumps([{"number": account.number, "moves": account.moves} for account in ranked])
    read = json.loads(text)
    found = re.findall(r"-(\d)\1", text)
    return sum(sum(each["moves"]) * place for place, each in enumerate(read)), len(found), len(text)


print(*tell(play()))

#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Drives the fleet view through ChromeDriver (W3C WebDriver, nothing but the standard library).

page.py PORT URL FOLDER SCREENSHOT prints "ok NAME" and "not NAME: WHY" lines.
"""
import base64
import json
import sys
import time
import urllib.request

port, url, folder, screenshot = sys.argv[1:]
base = "http://127.0.0.1:" + port


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def check(name, good, why=""):
    print(("ok " if good else "not ") + name + ("" if good else ": " + str(why)[:300].replace("\n", " ")), flush=True)


options = {"binary": "/usr/bin/chromium", "args": [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1700",
    "--user-data-dir=" + folder + "/chromium"]}
session = call("POST", "/session", {"capabilities": {"alwaysMatch": {
    "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})["sessionId"]
here = "/session/" + session


def script(text, *args):
    return call("POST", here + "/execute/sync", {"script": text, "args": list(args)})


def wait(name, text, *args):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if script("return " + text, *args):
            check(name, True)
            return True
        time.sleep(0.1)
    check(name, False, script("return document.body.innerText.slice(0, 300)"))
    return False


def rows(table):
    return script("return [...document.getElementById(arguments[0]).tBodies[0].rows].map(r => [...r.cells].map("
                  "c => c.textContent))", table)


def find(selector):
    return list(call("POST", here + "/element", {"using": "css selector", "value": selector}).values())[0]


def click(selector):
    call("POST", here + "/element/" + find(selector) + "/click", {})


def keys(selector, text):
    call("POST", here + "/element/" + find(selector) + "/value", {"text": text})


call("POST", here + "/url", {"url": url + "/"})
wait("agents-are-shown", "document.querySelectorAll('#agents tbody tr[data-id]').length === 3")
agents = {row[0]: row for row in rows("agents")}
check("agent-row", agents["arm"][:7] == ["arm", "robots", "software", "valid", "up", "kernel", "–"], agents["arm"])
check("split-of-bytes", agents["arm"][7] == "1.0 kB / 3.0 kB / 6.0 kB", agents["arm"])
check("split-is-drawn", script("return [...document.querySelectorAll('[data-id=arm] rect')].map("
                               "r => r.getAttribute('width'))") == ["10", "30", "60"])
check("expired-is-shown", agents["door"][3] == "expired", agents["door"])

# What a device says is text, whatever it looks like.
check("faults-are-text", agents["arm"][9] == '<img/src=x/onerror=hit()>, <script>hit()</script>, "onmouseover="hit()',
      agents["arm"])
check("no-markup-came-in", script("return document.querySelectorAll('main img, main script, dialog script, svg[onload], "
                                  "[onmouseover], [onerror]').length") == 0)
check("nothing-was-run", script("return typeof hit") == "undefined")
check("detail-is-text", rows("devices")[0][6] == "<svg onload=hit()> {{7*7}} javascript:hit()", rows("devices"))
check("where-it-comes-from", rows("devices")[0][5].startswith("run run-42; data 3a6eb0790f39; from grasp 7"),
      rows("devices"))
check("lineage", [row[5:8] for row in rows("releases")] == [["run-41", "–", "–"], ["run-42", "3a6eb0790f39", "grasp 7"]],
      rows("releases"))
check("roll-out", rows("rollouts")[0][2:5] == ["8", "–", "running"] and rows("rollouts")[0][6:9] == ["2", "0", "1"],
      rows("rollouts"))
alerts = script("return [...document.querySelectorAll('#alerts b')].map(b => b.textContent)")
check("alerts", sorted(alerts) == ["certificate-ended", "faults", "late", "model-failed"], alerts)
check("trust", [row[0] for row in rows("trust")] == ["root", "targets", "snapshot", "timestamp"], rows("trust"))
check("audit-tail", any(row[2] == "–" and row[4] == "release-promote" for row in rows("audit")), rows("audit"))
check("audit-of-agents", [row[2:] for row in rows("audit") if row[2] == "robot-1"] == [
    ["robot-1", "guard", "odd|action\\", "a=b", "failed", "1", 'odd-1 "q" \\ ] | = end']] * 2, rows("audit"))
check("audit-heads", script("return document.getElementById('audit').tHead.rows[0].cells.length") == len(rows("audit")[0]))

# Scripts and styles from the text of a page are refused by the browser.
check("inline-script-is-refused", script(
    "const s = document.createElement('script'); try { s.text = 'window.hit = () => 1'; document.body.append(s); }"
    "catch (error) { return error instanceof TypeError; } return typeof window.hit === 'undefined'"))
check("markup-is-refused", script(
    "try { document.createElement('p').innerHTML = '<b>x</b>'; return false; } catch (error) {"
    "return error instanceof TypeError; }"))

with open(screenshot, "wb") as out:
    out.write(base64.b64decode(call("GET", here + "/screenshot")))

keys("#filter", "leg")
wait("filter", "document.querySelectorAll('#agents tbody tr[data-id]').length === 1 && "
     "document.getElementById('shown').textContent === '1 of 3'")
click("#agents tbody tr[data-id=leg]")
wait("details", "document.getElementById('details').open && "
     "document.getElementById('details-list').textContent.includes('6.1.0-test')")
click("#details-revoke")
wait("asks-first", "document.getElementById('revoke').open && document.getElementById('revoke-do').disabled")
keys("#revoke-reason", "stolen <b>now</b>")
keys("#revoke-confirm", "arm")
check("another-id-does-not-confirm", script("return document.getElementById('revoke-do').disabled"))
script("document.getElementById('revoke-confirm').value = ''")
keys("#revoke-confirm", "leg")
wait("the-id-confirms", "!document.getElementById('revoke-do').disabled")
click("#revoke-do")
wait("revoked", "!document.getElementById('revoke').open && "
     "document.querySelector('[data-id=leg]').cells[3].textContent === 'revoked'")
check("reason-is-text", script("return document.querySelectorAll('main section b:not(#alerts b)').length") == 0)

# A page of another origin cannot do that: the browser sends the certificate, the Platform refuses.
call("POST", here + "/url", {"url": "data:text/html,<p>elsewhere"})
got = call("POST", here + "/execute/async", {"script": """
    const done = arguments[1];
    fetch(arguments[0] + '/v1/fleet/agents/arm/revoke', { method: 'POST', mode: 'no-cors', credentials: 'include',
        body: '{"reason": "x"}' }).then(() => done('sent'), () => done('refused'));""", "args": [url]})
call("POST", here + "/url", {"url": url + "/"})
wait("agents-again", "document.querySelectorAll('#agents tbody tr[data-id]').length === 3")
check("not-from-elsewhere", {row[0]: row for row in rows("agents")}["arm"][3] == "valid", got)
call("DELETE", here)

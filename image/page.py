"""Takes pictures of the page of a room: on a desktop and on a phone, light and
dark. It drives Chromium over the WebDriver protocol.

usage: page.py URL FOLDER COMMAND...

The command must end the server: the last picture shows the page without it.
"""

import base64
import json
import subprocess
import sys
import time
import urllib.request

ENTER, ESCAPE = "\ue007", "\ue00c"
ARGUMENTS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --lang=en-GB
    --disable-background-networking --disable-component-update --disable-sync
    --disable-dev-shm-usage --no-proxy-server --hide-scrollbars
""".split()
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    def __init__(self):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        lines = (line for line in self.driver.stdout if "started successfully on port" in line)
        port = next(lines).split()[-1].rstrip(".")
        self.session = f"http://127.0.0.1:{port}/session"
        wanted = {"alwaysMatch": {"goog:chromeOptions": {"args": ARGUMENTS}}}
        self.session += "/" + self.call("", {"capabilities": wanted})["sessionId"]

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.session + path, data=data, method=method)
        return json.load(DIRECT.open(request))["value"]

    def devtools(self, command, **parameters):
        self.call("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script):
        return self.call("/execute/sync", {"script": script, "args": []})

    def see(self, truth):
        for _ in range(500):
            if self.run(f"return Boolean({truth})"):
                return
            time.sleep(0.02)
        sys.exit(f"page.py: the page does not show: {truth}")

    def type(self, keys):
        element = self.call("/element", {"using": "css selector", "value": "#text"})
        self.call(f"/element/{next(iter(element.values()))}/value", {"text": keys})

    def show_as(self, width, height, phone, scheme):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=phone)
        self.devtools("Emulation.setTouchEmulationEnabled", enabled=phone)
        media = [("prefers-color-scheme", scheme), ("hover", "none" if phone else "hover"), ("pointer", "coarse" if phone else "fine")]
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in media])

    def picture(self, path):
        # The browser needs a few frames to show the last changes.
        time.sleep(0.5)
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("/screenshot")))

    def end(self):
        self.call("", method="DELETE")
        self.driver.terminate()
        self.driver.wait()


def main(url, folder, *end):
    browser = Browser()
    browser.show_as(1000, 640, False, "light")
    browser.call("/url", {"url": url})
    browser.see("document.getElementById('state').dataset.state === 'live'")
    browser.type("/name ana" + ENTER)
    browser.see("document.getElementById('you-name').textContent === 'ana'")
    browser.type("Coming. Two minutes!" + ENTER)
    browser.type("/me puts the cups out" + ENTER)
    browser.see("document.querySelectorAll('#log .own').length === 2 && !document.querySelector('#unsent li')")
    browser.type("/members" + ENTER)
    browser.see("document.querySelectorAll('#names button').length === 3")
    browser.run("document.getElementById('text').focus()")
    browser.picture(f"{folder}/page-desk.png")
    browser.type("/search mint" + ENTER)
    browser.see("document.querySelector('#found li')")
    browser.run("document.getElementById('text').focus()")
    browser.show_as(1000, 640, False, "dark")
    browser.picture(f"{folder}/page-desk-dark.png")
    browser.run("document.getElementById('close').click()")
    browser.type("I'll bring the mint")
    browser.show_as(390, 720, True, "light")
    browser.picture(f"{folder}/page-phone.png")
    browser.run("document.getElementById('text').value = ''")
    subprocess.run(end, check=True)
    browser.see("document.getElementById('state').dataset.state === 'offline'")
    browser.type("And the honey?" + ENTER)
    browser.type("/me waits" + ENTER)
    browser.see("document.getElementById('state-text').textContent.includes('2 unsent')")
    browser.show_as(390, 720, True, "dark")
    browser.picture(f"{folder}/page-phone-dark.png")
    browser.end()


main(*sys.argv[1:])
